// Package parquet reads columns of a Parquet file as text, and nothing else of the format.
//
// Open reads the footer. Column finds a column of strings at the top level, and Values yields it row by row. Table
// takes several columns, lists and structs too, and Rows yields each row as a JSON object:
//
//	f, err := parquet.Open(r, size)
//	c, err := f.Column("text")
//	for value, err := range c.Values() { … }
//	t, err := f.Table([]string{"messages"})
//	for row, err := range t.Rows() { … }
//
// The files come from strangers, so no length in them is trusted. Memory of a column stays below a few times the length
// of the file plus 2 MiB, and below two pages of at most 128 MiB; a table has at most 64 columns. Pages are unpacked
// one at a time. Encryption, the codec LZO, decimals of fixed length and INT96 are refused by name.
//
// Source: the format's specification, apache/parquet-format 2.10, and Thrift's compact protocol.
package parquet
