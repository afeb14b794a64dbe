"""The stages of the pipeline, one file each: run(config, work), thin, with input and output at the edges."""
