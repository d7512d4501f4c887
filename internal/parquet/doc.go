// Package parquet reads one column of text from a Parquet file, and nothing else of the format.
//
// Open reads the footer, Column finds a column of strings at the top level, and Values yields it row by row:
//
//	f, err := parquet.Open(r, size)
//	c, err := f.Column("text")
//	for value, err := range c.Values() { … }
//
// The files come from strangers, so no length in them is trusted. Memory stays below a few times the length of the file
// plus 1 MiB, and below two pages of at most 128 MiB. Pages are unpacked one at a time. Encryption, nested columns and
// the codecs LZO, Brotli and LZ4 are refused by name.
//
// Source: the format's specification, apache/parquet-format 2.10, and Thrift's compact protocol.
package parquet
