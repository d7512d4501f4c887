// Package chat holds the formats of conversations: how messages become the text and special tokens that a model reads,
// which of them count in the loss, which tokens end a turn, and the Jinja template that tells other programs the same.
//
// The calls most readers want are For, which picks the format for a tokenizer, and Format.Render:
//
//	for piece, err := range chat.For(tok).Render(&chat.Conversation{Messages: messages}) { … }
//
// What counts is the same in every format: the words of a message that is trained on, and the mark that ends them. The
// role does not count, because whoever asks writes it, and neither does what is between two messages.
//
// NewTemplate makes a format of a model's own template. Package jinja renders it within limits: it is the program of a
// stranger.
//
// The package reads no records (package record does), encodes no text, and knows no file and no model. It asks a
// tokenizer only for the ids of special tokens.
package chat
