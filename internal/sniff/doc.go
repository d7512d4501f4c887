// Package sniff tells what bytes are: text, in which encoding, or which kind of file that is no text. It opens no
// files.
//
//	kind := sniff.Kind(head, size) // "PDF file", "" for text
//	name := sniff.Guess(text)      // "gbk", "" for unknown
//	r = sniff.Decoder(name).Reader(r)
package sniff
