# Thin aliases: everything is in ./run (./run help).
.DEFAULT_GOAL := run
.PHONY: run test browser contract lint types cover bench check demo serve reset clean lock help

run:
	@./run

test browser contract lint types cover bench check demo serve reset clean lock help:
	@./run $@ $(ARGS)
