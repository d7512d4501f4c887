// Package record turns records into texts and conversations, wherever they are from: a record is a JSON object, and the
// rows of tables are written as such.
//
//	p := record.New(record.Fields{})      // recognises records by their keys
//	text, turns, err := p.Parse(line)
//
// Values cuts JSON into records, and Table reads comma- or tab-separated values. Both hold one record of at most 64
// MiB. The package knows no files and no tokens.
package record
