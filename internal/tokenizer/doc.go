// Package tokenizer turns text into token ids and back.
//
// There is one concrete type, Tokenizer, of one of three kinds: "bpe" (byte-level byte-pair encoding, trained here or
// read from a file), "bytes" (one token per byte) and "chars" (one token per character of a fixed alphabet). The calls
// most readers want are TrainBPE, which makes a tokenizer from documents, and Append, which encodes a text. NewEncoder
// does the same for a text that arrives in pieces or does not fit into memory.
//
// Every tokenizer has an end-of-text token; a beginning-of-text token is optional; there is no padding token. Plain
// text never yields a special token: "<|endoftext|>" in a document is only characters. AppendSpecial finds special
// tokens, for texts of trusted origin.
//
// A tokenizer is stored as a Hugging Face tokenizer.json (docs/format/tokenizer.md). Parse also reads files of
// others: BPE on bytes, BPE and Unigram of SentencePiece, with normalizers, splits of the text and added tokens. It
// accepts only pipelines it knows by name, and never runs a regular expression of a file: package split has scanners
// written by hand for the known ones, linear in the length of the text.
//
// The package keeps no global state, reads no files and knows no model. A Tokenizer does not change once made.
package tokenizer
