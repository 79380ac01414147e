; What lisp_test.sh runs, with the values that are expected behind each expression.
(define list3 (lambda (a b c) (cons a (cons b (cons c '())))))  ; => list3
(list3 1 2 3)                                                   ; => (1 2 3)
(define range (lambda (from to) (if (< from to) (cons from (range (+ from 1) to)) '()))) ; => range
(define sum (lambda (list) (if (null? list) 0 (+ (car list) (sum (cdr list)))))) ; => sum
(define kept (range 0 500))                                     ; => kept
(sum kept)                                                      ; => 124750
(define fib (lambda (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))) ; => fib
(fib 16)                                                        ; => 987
(define loop (lambda (n list) (if (= n 0) list (loop (- n 1) (cons n '()))))) ; => loop
(loop 20000 '())                                                ; => (1)
(define make-adder (lambda (n) (lambda (m) (+ n m))))           ; => make-adder
(define add7 (make-adder 7))                                    ; => add7
(collect)                                                       ; => ()
(add7 35)                                                       ; => 42
(sum kept)                                                      ; => 124750
(begin (define x 5) (* x x))                                    ; => 25
