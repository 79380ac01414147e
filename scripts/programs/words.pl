# Hashes, regular expressions and strings: prints one line that is the same everywhere.
use strict;
use warnings;

my $seed = 2026;
sub random { my ($n) = @_; $seed = ($seed * 1103515245 + 12345) % 2147483648; return $seed % $n }

my (%count, %places, $length);
for my $line (1 .. 14000) {
  my $text = join ' ', map { ('aa' .. 'dz')[random(104)] . random(90) } 1 .. 10;
  while ($text =~ /([a-d])([a-z])(\d+)/g) {
    $count{"$1$2"} += $3;
    push @{ $places{"$1$3"} }, $line if $3 % 7 == 0;
  }
  (my $other = $text) =~ s/(\w)(\d+)/$2$1/g;
  $length += length($other) if $other lt 'b';
}
my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
my $listed = 0;
$listed += @$_ for values %places;
print join(' ', "$top[0]=$count{$top[0]}", scalar(@top), $listed, $length), "\n";
