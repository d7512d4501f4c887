package data

import (
	"testing"

	"gimbal/internal/chat"
	records "gimbal/internal/record"
)

// BenchmarkTemplate renders and cuts conversations of three questions by the template of each family.
func BenchmarkTemplate(b *testing.B) {
	line := conversationLines(b)[2]
	for _, f := range families(b) {
		for name, tagged := range map[string]bool{"blocks": true, "prefixes": false} {
			b.Run(f.name+"/"+name, func(b *testing.B) {
				format := f.format(b, tagged)
				_, messages, err := records.New(records.Fields{}).Parse([]byte(line))
				if err != nil {
					b.Fatal(err)
				}
				c := chat.Conversation{Messages: messages}
				for b.Loop() {
					for _, err := range format.Render(&c) {
						if err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
