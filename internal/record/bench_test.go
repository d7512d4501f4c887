package record

import (
	"bytes"
	"strings"
	"testing"
)

// BenchmarkParse reads a text and a conversation of everyday size.
func BenchmarkParse(b *testing.B) {
	words := strings.Repeat("some words of a text, ", 20)
	for name, record := range map[string]string{
		"text": `{"id":7,"text":"` + words + `","source":"x"}`,
		"chat": `{"messages":[{"role":"user","content":"` + words + `"},{"role":"assistant","content":"` + words + `"}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			p := New(Fields{})
			line := []byte(record)
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				if _, _, err := p.Parse(bytes.Clone(line)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
