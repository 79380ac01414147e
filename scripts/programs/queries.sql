-- Queries over made-up orders, for sqlite3 :memory:. Prints a few lines that are the same everywhere.
create table customer(id integer primary key, name text, city text);
create table orders(id integer primary key, customer integer, item text, price real);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 4000)
  insert into customer select x, 'customer ' || (x * 7919 % 10007), 'city ' || (x * 31 % 97) from n;
with recursive n(x) as (select 1 union all select x + 1 from n where x < 90000)
  insert into orders select x, 1 + x * 6151 % 4000, 'item ' || (x * 104729 % 1999), (x * 37 % 5000) / 4.0 from n;
create index by_customer on orders(customer);
create index by_item on orders(item, price);
select city, count(*), sum(price) from orders join customer on customer = customer.id group by city order by 3 desc limit 5;
select item, count(distinct customer), max(price) from orders group by item order by 2 desc, 1 limit 5;
select length(group_concat(name, ', ')) from customer;
delete from orders where id % 3 = 0;
select json_group_array(json_object('id', id, 'item', item)) from (select * from orders order by price, id limit 20);
