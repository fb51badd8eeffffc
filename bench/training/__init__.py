"""One pack of trials, trained as a batch of models: lanes, history, compiling, pack size, looking inside."""
