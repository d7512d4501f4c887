// Package tokenizer turns text into token ids and back.
//
// There is one concrete type, Tokenizer, of one of three kinds: "bpe"
// (byte-level byte-pair encoding, trained here or read from a file), "bytes"
// (one token per byte) and "chars" (one token per character of a fixed
// alphabet). Most readers want two calls: TrainBPE, which makes a tokenizer
// from documents, and Append, which encodes a text. NewEncoder does the same
// for a text that arrives in pieces or does not fit into memory.
//
// Every tokenizer has an end-of-text token; a beginning-of-text token is
// optional; a padding token does not exist. Plain text never yields a special
// token: the characters of "<|endoftext|>" in a document are characters.
//
// AppendSpecial finds the special tokens, for texts of trusted origin.
//
// A tokenizer is stored as a Hugging Face tokenizer.json
// (docs/format/tokenizer.md). Parse reads those of others, too: byte-level BPE with
// the splits of GPT-2, Qwen 2 and Llama 3, normalization form C or none, and added
// tokens. It accepts only pipelines it knows by name.
// No regular expression of a file is ever run: the known split patterns are
// scanners written by hand, linear in the length of the text.
//
// The package keeps no global state, reads no files and knows no model. A
// Tokenizer does not change once made and is safe for concurrent use.
package tokenizer
