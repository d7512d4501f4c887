package chat

import "iter"

// Encoder encodes text in which no special token is found, as a tokenizer does.
type Encoder interface {
	// Append appends the tokens of a whole text.
	Append(dst []int32, text []byte) ([]int32, error)
	// AppendBehind appends the tokens of text behind a special token.
	AppendBehind(dst []int32, text []byte) ([]int32, error)
}

// Encode appends the tokens of pieces, such as those of Format.Prompt.
func Encode(dst []int32, enc Encoder, pieces iter.Seq2[Piece, error]) (ids []int32, err error) {
	var text []byte
	add := enc.Append // at the start only
	flush := func() {
		if len(text) > 0 && err == nil {
			dst, err = add(dst, text)
			add = enc.AppendBehind
		}
		text = text[:0]
	}
	for p, wrong := range pieces {
		if wrong != nil {
			return dst, wrong
		}
		if !p.Joined {
			flush()
		}
		if p.Token >= 0 {
			dst, add = append(dst, p.Token), enc.AppendBehind
		} else {
			text = append(text, p.Text...)
		}
	}
	flush()
	return dst, err
}
