// A small Lisp whose every object lives in gm_gc's heap: what an interpreter's author has to do, and nothing
// else. There is no free, no reference count and no root stack here: values in C variables are found on the
// machine stack.
//
//   lisp [--stress] [--stats] [FILE]    evaluates FILE or standard input, prints the value of each expression
//
// The language: integers, symbols, lists; quote (also 'x), if, define, lambda, begin; + - * < = cons car cdr
// null? collect. () is false, everything else is true. Exit status 1 on a program's error, 2 on a wrong
// command line.
#include "core/gc/gm_gc.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum tag { NUMBER, SYMBOL, PAIR, CLOSURE, PRIMITIVE };

typedef struct object object;
typedef object *primitive(object *arguments);

// Each kind of object is allocated only as long as its own members need.
struct object {
  enum tag tag;
  union {
    int64_t number;
    struct {
      object *next; // all symbols are one list
      object *value;
      char name[]; // behind the object's last member
    } symbol;
    struct {
      object *head;
      object *tail;
    } pair;
    struct {
      object *parameters;
      object *body;
      object *scope;
    } closure;
    primitive *function;
  };
};

#define SIZE_TO(member) (offsetof(object, member) + sizeof(((object *)0)->member))

// The only roots outside of the stack.
static struct {
  object *symbols;
  object *quote, *if_, *define, *lambda, *begin;
} global;

static const gm_gc_type *pair_type;
static const gm_gc_type *closure_type;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)fputs("lisp: ", stderr);
  (void)vfprintf(stderr, format, arguments);
  (void)fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

// ---- Objects

static object *checked(void *memory, enum tag tag) {
  object *fresh = memory;
  if (fresh == NULL)
    fail("out of memory");
  fresh->tag = tag;
  return fresh;
}

static object *make_number(int64_t number) {
  object *fresh = checked(gm_gc_alloc_noscan(SIZE_TO(number)), NUMBER);
  fresh->number = number;
  return fresh;
}

static object *make_pair(object *head, object *tail) {
  object *fresh = checked(gm_gc_alloc(pair_type), PAIR);
  fresh->pair.head = head;
  fresh->pair.tail = tail;
  return fresh;
}

static object *make_closure(object *parameters, object *body, object *scope) {
  object *fresh = checked(gm_gc_alloc(closure_type), CLOSURE);
  fresh->closure.parameters = parameters;
  fresh->closure.body = body;
  fresh->closure.scope = scope;
  return fresh;
}

// Symbols of any length: their name is among what is searched for pointers, which text seldom looks like.
static object *intern(const char *name, size_t length) {
  for (object *symbol = global.symbols; symbol != NULL; symbol = symbol->symbol.next)
    if (strlen(symbol->symbol.name) == length && memcmp(symbol->symbol.name, name, length) == 0)
      return symbol;
  object *fresh = checked(gm_gc_alloc_conservative(offsetof(object, symbol.name) + length + 1), SYMBOL);
  memcpy(fresh->symbol.name, name, length);
  fresh->symbol.next = global.symbols;
  global.symbols = fresh;
  return fresh;
}

static bool is(const object *value, enum tag tag) {
  return value != NULL && value->tag == tag;
}

static object *head(object *list) {
  if (!is(list, PAIR))
    fail("a pair is needed");
  return list->pair.head;
}

static object *tail(object *list) {
  if (!is(list, PAIR))
    fail("a pair is needed");
  return list->pair.tail;
}

static int64_t number(const object *value) {
  if (!is(value, NUMBER))
    fail("a number is needed");
  return value->number;
}

// ---- Reading

static int next_visible(FILE *in) {
  int c = getc(in);
  while (isspace(c) || c == ';') {
    if (c == ';')
      while (c != '\n' && c != EOF)
        c = getc(in);
    c = c == EOF ? EOF : getc(in);
  }
  return c;
}

static object *read_value(FILE *in, int c);

static object *read_list(FILE *in) {
  object *first = NULL;
  object *last = NULL;
  for (int c = next_visible(in); c != ')'; c = next_visible(in)) {
    if (c == EOF)
      fail("the input ends in a list");
    object *pair = make_pair(read_value(in, c), NULL);
    if (last == NULL)
      first = pair;
    else
      last->pair.tail = pair;
    last = pair;
  }
  return first;
}

static object *read_atom(FILE *in, int c) {
  char text[128];
  size_t length = 0;
  for (; c != EOF && !isspace(c) && c != '(' && c != ')'; c = getc(in)) {
    if (length == sizeof text - 1)
      fail("a symbol has more than %zu characters", sizeof text - 1);
    text[length++] = (char)c;
  }
  (void)ungetc(c, in);
  text[length] = '\0';
  char *end = NULL;
  int64_t value = strtoll(text, &end, 10);
  return *end == '\0' ? make_number(value) : intern(text, length);
}

static object *read_value(FILE *in, int c) {
  if (c == '(')
    return read_list(in);
  if (c == ')')
    fail("a ) without (");
  if (c == '\'')
    return make_pair(global.quote, make_pair(read_value(in, next_visible(in)), NULL));
  return read_atom(in, c);
}

static void print(const object *value) {
  if (value == NULL) {
    (void)fputs("()", stdout);
  } else if (value->tag == NUMBER) {
    (void)printf("%" PRId64, value->number);
  } else if (value->tag == SYMBOL) {
    (void)fputs(value->symbol.name, stdout);
  } else if (value->tag != PAIR) {
    (void)fputs("<function>", stdout);
  } else {
    const char *separator = "(";
    for (; is(value, PAIR); value = value->pair.tail) {
      (void)fputs(separator, stdout);
      print(value->pair.head);
      separator = " ";
    }
    (void)fputs(")", stdout);
  }
}

// ---- Evaluating. A scope is a list of (symbol . value); what it lacks is the symbol's own value.

static object *evaluate(object *value, object *scope);

static object *look_up(object *symbol, object *scope) {
  for (; scope != NULL; scope = scope->pair.tail)
    if (scope->pair.head->pair.head == symbol)
      return scope->pair.head->pair.tail;
  if (symbol->symbol.value == NULL)
    fail("%s is not defined", symbol->symbol.name);
  return symbol->symbol.value;
}

static object *evaluate_list(object *list, object *scope) {
  if (list == NULL)
    return NULL;
  object *first = evaluate(head(list), scope);
  return make_pair(first, evaluate_list(tail(list), scope));
}

static object *bind(object *parameters, object *arguments, object *scope) {
  for (; parameters != NULL; parameters = tail(parameters), arguments = tail(arguments))
    scope = make_pair(make_pair(head(parameters), head(arguments)), scope);
  return scope;
}

static object *define(object *form, object *scope) {
  object *symbol = head(form);
  if (!is(symbol, SYMBOL))
    fail("define needs a symbol");
  symbol->symbol.value = evaluate(head(tail(form)), scope);
  return symbol;
}

// All but the last of `body`; returns that one.
static object *all_but_last(object *body, object *scope) {
  for (; tail(body) != NULL; body = tail(body))
    (void)evaluate(head(body), scope);
  return head(body);
}

static object *evaluate(object *value, object *scope) {
  for (;;) {
    if (is(value, SYMBOL))
      return look_up(value, scope);
    if (!is(value, PAIR))
      return value;
    object *first = head(value);
    object *rest = tail(value);
    if (first == global.quote)
      return head(rest);
    if (first == global.define)
      return define(rest, scope);
    if (first == global.lambda)
      return make_closure(head(rest), tail(rest), scope);
    if (first == global.if_) {
      object *condition = evaluate(head(rest), scope);
      object *otherwise = tail(tail(rest));
      value = condition != NULL ? head(tail(rest)) : otherwise != NULL ? head(otherwise) : NULL;
    } else if (first == global.begin) {
      value = all_but_last(rest, scope);
    } else {
      object *function = evaluate(first, scope);
      object *arguments = evaluate_list(rest, scope);
      if (is(function, PRIMITIVE))
        return function->function(arguments);
      if (!is(function, CLOSURE))
        fail("only functions can be called");
      scope = bind(function->closure.parameters, arguments, function->closure.scope);
      value = all_but_last(function->closure.body, scope);
    }
  }
}

// ---- Primitives

static object *truth(bool value) {
  return value ? make_number(1) : NULL;
}

static object *add(object *arguments) {
  int64_t sum = 0;
  for (; arguments != NULL; arguments = tail(arguments))
    sum += number(head(arguments));
  return make_number(sum);
}

static object *subtract(object *arguments) {
  return make_number(number(head(arguments)) - number(head(tail(arguments))));
}

static object *multiply(object *arguments) {
  return make_number(number(head(arguments)) * number(head(tail(arguments))));
}

static object *less(object *arguments) {
  return truth(number(head(arguments)) < number(head(tail(arguments))));
}

static object *equal(object *arguments) {
  return truth(number(head(arguments)) == number(head(tail(arguments))));
}

static object *cons(object *arguments) {
  return make_pair(head(arguments), head(tail(arguments)));
}

static object *car(object *arguments) {
  return head(head(arguments));
}

static object *cdr(object *arguments) {
  return tail(head(arguments));
}

static object *is_null(object *arguments) {
  return truth(head(arguments) == NULL);
}

static object *collect(object *arguments) {
  (void)arguments;
  (void)gm_gc_collect();
  return NULL;
}

static void define_primitives(void) {
  static const struct {
    const char *name;
    primitive *function;
  } primitives[] = {{"+", add},         {"-", subtract},     {"*", multiply}, {"<", less},
                    {"=", equal},       {"cons", cons},      {"car", car},    {"cdr", cdr},
                    {"null?", is_null}, {"collect", collect}};
  for (size_t i = 0; i < sizeof primitives / sizeof *primitives; i++) {
    object *function = checked(gm_gc_alloc_noscan(SIZE_TO(function)), PRIMITIVE);
    function->function = primitives[i].function;
    intern(primitives[i].name, strlen(primitives[i].name))->symbol.value = function;
  }
}

// ---- The program

static void start(bool stress) {
  struct gm_gc_options options = {.stress = stress ? 50 : 0, .checkmark = stress, .verify = stress};
  static const size_t pair_pointers[] = {offsetof(object, pair.head), offsetof(object, pair.tail)};
  static const size_t closure_pointers[] = {offsetof(object, closure.parameters),
                                            offsetof(object, closure.body), offsetof(object, closure.scope)};
  if (gm_gc_init(&options) != 0 || gm_gc_root_add(&global, sizeof global) != 0)
    fail("the collector does not start");
  pair_type = gm_gc_type_define(SIZE_TO(pair), pair_pointers, 2);
  closure_type = gm_gc_type_define(SIZE_TO(closure), closure_pointers, 3);
  if (pair_type == NULL || closure_type == NULL)
    fail("the collector does not take the types");
  global.quote = intern("quote", 5);
  global.if_ = intern("if", 2);
  global.define = intern("define", 6);
  global.lambda = intern("lambda", 6);
  global.begin = intern("begin", 5);
  define_primitives();
}

static void print_stats(void) {
  struct gm_gc_stats stats;
  gm_gc_stats_read(&stats);
  (void)fprintf(stderr,
                "%" PRIu64 " objects, %" PRIu64 " bytes, %" PRIu64 " cycles, %" PRIu64
                " bytes alive after the last one\n",
                stats.allocated_objects, stats.allocated_bytes, stats.cycles, stats.live_bytes);
}

int main(int argc, char **argv) {
  bool stress = false;
  bool stats = false;
  FILE *in = stdin;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--stress") == 0) {
      stress = true;
    } else if (strcmp(argv[i], "--stats") == 0) {
      stats = true;
    } else if (argv[i][0] == '-' || in != stdin || (in = fopen(argv[i], "r")) == NULL) {
      (void)fprintf(
          stderr,
          "lisp: %s: not an option and not a readable file; usage: lisp [--stress] [--stats] [FILE]\n",
          argv[i]);
      return 2;
    }
  }
  start(stress);
  for (int c = next_visible(in); c != EOF; c = next_visible(in)) {
    print(evaluate(read_value(in, c), NULL));
    (void)putchar('\n');
  }
  if (stats)
    print_stats();
  return 0;
}
