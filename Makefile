# `make demo` and `make test` do all of their own set-up; the targets below them are for working on the code.
