"""Facts and settings of the Linux kernel and glibc, one a module; harmless where there is none."""
