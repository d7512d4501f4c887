package judge

import (
	"slices"
	"testing"
)

// TestTurns chooses prompts of conversations: everything before an answer, whole if that leaves half of the context.
func TestTurns(t *testing.T) {
	var held documents
	var said [][][2]int64
	for k := range 40 {
		doc := make([]int32, 30+k)
		for i := range doc {
			doc[i] = int32(1000*k + i)
		}
		held = append(held, doc)
		said = append(said, [][2]int64{{0, 2}, {10, 14}, {20, int64(len(doc))}}) // the first answers nobody
	}
	answers := func(k int) [][2]int64 { return said[k] }
	for _, c := range []struct {
		room  int64
		whole bool
	}{{20, true}, {10, true}, {9, false}} {
		all := turns(held, answers, c.room)
		want := map[int64]int{20: 80, 10: 40, 9: 80}[c.room]
		if len(all) != want {
			t.Fatalf("room %d: %d answers, want %d", c.room, len(all), want)
		}
		plan := PlanFor(6, 3, 64, int(2*c.room)).fitTurns(all)
		if plan.PromptTokens != int(min(c.room, 20)) || plan.PromptTokens+plan.MaxTokens > int(2*c.room) {
			t.Errorf("room %d: %+v", c.room, plan)
		}
		chosen := chooseTurns(held, all, plan, 1)
		if len(chosen) != 18 || !slices.Equal(chosen, chooseTurns(held, all, plan, 1)) {
			t.Fatalf("room %d: %v", c.room, chosen)
		}
		docs := map[spot]bool{}
		for i, s := range chosen {
			if (s.at == 0) != c.whole || !slices.Contains(said[s.doc], [2]int64{s.begin, s.end}) || docs[s] {
				t.Errorf("room %d: %v", c.room, s)
			}
			if docs[s] = true; i > 0 && i < 6 && s.doc <= chosen[i-1].doc && s.begin <= chosen[i-1].begin {
				t.Errorf("room %d: the prompts are not spread over the documents: %v", c.room, chosen[:6])
			}
		}
	}
	// Equal questions are asked once.
	same := documents{held[0], held[0], held[0], held[1]}
	all := turns(same, func(int) [][2]int64 { return said[0] }, 10)
	chosen := chooseTurns(same, all, Plan{Prompts: 4, Samples: 1}, 1)
	if len(chosen) != 4 || chosen[0].doc == chosen[1].doc || chosen[1].doc != 3 {
		t.Errorf("%v", chosen)
	}
}
