"""A suite from its file to finished results: run, queues, estimate, manifest, doctor."""
