package gimbal

import (
	"context"
	"math"

	"gimbal/internal/engine"
	"gimbal/internal/model"
)

// Score says how probable a text is to a model.
type Score struct {
	Loss        float64 `json:"loss"`          // nats per token; the lower, the more probable
	BitsPerByte float64 `json:"bits_per_byte"` // the same on a scale that does not depend on the tokenizer; no text: 0
	Tokens      int     `json:"tokens"`        // of the text and its end
	Bytes       int     `json:"bytes"`         // of the text
}

// longestPiece is the tokens in which a long text is scored: the context of an imported model may not fit into memory.
const longestPiece = 2048

// Score measures a text as a document of its own: after the token that starts a text, up to and with its end. Where the
// text is longer than the context, or than 2048 tokens, it is scored in pieces.
//
// Formula: Loss = -Σ ln p(token | those before it in its piece) / Tokens.
//
// It fails with a [DataError] if the text has a character that the tokenizer does not know, with the error of ctx, or
// with [ErrClosed].
func (m *Model) Score(ctx context.Context, text string) (Score, error) {
	ids, err := m.tok.Append([]int32{m.start}, []byte(text))
	if err != nil {
		return Score{}, classify(err, "")
	}
	ids = append(ids, m.tok.EOS())
	nats, labels, piece := 0.0, len(ids)-1, min(m.arch.Context, longestPiece)
	for lo := 0; lo < labels; lo += piece {
		hi := min(labels, lo+piece)
		counts := make([]bool, hi-lo)
		for i := range counts {
			counts[i] = true
		}
		err := m.compute(ctx, func() error {
			if m.device != nil {
				v, err := m.device.engine.Pass(ctx, engine.Input{Tokens: ids[lo:hi], Labels: ids[lo+1 : hi+1],
					Counts: counts,
					Bounds: []int32{0, int32(hi - lo)}}, engine.Nats)
				nats += v.Nats
				return err
			}
			if err := m.openScorer(piece); err != nil {
				return err
			}
			nats += m.scorer.Loss(model.Input{Tokens: ids[lo:hi], Labels: ids[lo+1 : hi+1], Counts: counts,
				Bounds: []int32{0, int32(hi - lo)}})
			return nil
		})
		if err != nil {
			return Score{}, err
		}
	}
	s := Score{Loss: nats / float64(labels), Tokens: labels, Bytes: len(text)}
	if s.Bytes > 0 {
		s.BitsPerByte = nats / (math.Ln2 * float64(s.Bytes))
	}
	return s, nil
}

// openScorer makes the scorer, once: a model with buffers for a piece.
func (m *Model) openScorer(piece int) error {
	if m.scorer != nil {
		return nil
	}
	s, err := model.New[float32](m.arch, m.exec, model.Options{MicroTokens: piece, Checkpointing: model.CheckpointBlock,
		Mode: model.ModeAuto})
	if err != nil {
		return err
	}
	copy(s.Params().Flat, m.writer.Params().Flat)
	s.Refresh()
	m.scorer = s
	return nil
}
