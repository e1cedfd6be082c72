"""The places that `import` reads from: files, standard input and URLs, with the disk unpacked from them."""
