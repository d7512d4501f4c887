// Package chat holds the formats of conversations: how messages become the text and the special tokens that a model
// reads, which of them count in the loss, which tokens end a turn, and the Jinja template that tells other programs
// the same.
//
// The calls most readers want are For, which picks the format that a tokenizer is made for, and Format.Render:
//
//	for piece, err := range chat.For(tok).Render(messages) { … }
//
// The rule of what counts is the same in every format. Of a message that is to be learned, its words and the mark that
// ends them count, and nothing else does: not the role, which whoever asks will write, nor what stands between two
// messages.
//
// What it does not do: it reads no records (package corpus does), encodes no text, and knows no file and no model. Of
// a tokenizer it asks for the ids of special tokens only.
package chat
