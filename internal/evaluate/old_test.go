package evaluate

import (
	"math"
	"testing"
)

// TestOld: the loss on texts that the model wrote is that of its own probabilities, and rises when other text is
// learned; text that was named takes their place.
func TestOld(t *testing.T) {
	text := openText(t, grammar(t, 60), 0.2)
	m := trained(t, cpu(t, 2), text)
	e := New(options(m, text))
	texts, err := e.Remember(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, err := e.Old(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	tokens := 0
	for _, w := range texts {
		tokens += len(w)
	}
	if len(texts) < oldTexts/2 || before.Tokens != int64(tokens) {
		t.Fatalf("%d texts of %d tokens, %d scored", len(texts), tokens, before.Tokens)
	}
	if l := before.Loss(); !(l < math.Log(257)-1) {
		t.Errorf("its own texts cost %.3f nats a token, as much as any", l)
	}
	if err := m.Init(9); err != nil {
		t.Fatal(err)
	}
	forgot, err := e.Old(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	if !(forgot.Loss() > before.Loss()+0.5) {
		t.Errorf("fresh weights forgot nothing: %.3f, then %.3f", before.Loss(), forgot.Loss())
	}

	opt := options(m, text)
	opt.Old = openText(t, grammar(t, 7), 0)
	named := New(opt)
	if texts, err := named.Remember(t.Context()); err != nil || texts != nil {
		t.Errorf("wrote %d texts beside the one that was named, %v", len(texts), err)
	}
	if s, err := named.Old(t.Context(), nil); err != nil || s.Tokens < opt.SampleSize {
		t.Errorf("scored %d of %d tokens, %v", s.Tokens, opt.Old.Val.Tokens(), err)
	}
}
