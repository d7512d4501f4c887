package main

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"gimbal/internal/guard"
)

// The runs of life are enough of each kind, and none comes twice.
func TestLifeGroups(t *testing.T) {
	keys := map[string]bool{}
	want := []int{400_000, 100_000, 20_000, 100_000}
	for i, g := range lifeGroups() {
		if n := g.steps * len(g.runs); n < want[i] {
			t.Errorf("%s: %d steps, want %d", g.name, n, want[i])
		}
		if len(g.runs)%7 == 0 {
			t.Errorf("%s: runs of every seventh do not come to all", g.name)
		}
		for _, a := range g.runs {
			keys[a.key()] = true
		}
	}
	if len(keys) < 60 {
		t.Errorf("%d runs that differ", len(keys))
	}
}

// Poisson limits of 95 %, one side, as tables have them.
func TestPoissonBound(t *testing.T) {
	for n, want := range map[int]float64{0: 2.996, 1: 4.744, 5: 10.513, 20: 29.062} {
		if got := poissonBound(n); math.Abs(got-want) > 0.001 {
			t.Errorf("%d: %v, want %v", n, got, want)
		}
	}
}

// The table counts the events of a stream by the limits of today and by the first ones.
func TestLifeTable(t *testing.T) {
	var log, b bytes.Buffer
	p := &proof{streams: t.TempDir(), log: &log}
	rules, err := json.Marshal(guard.Rules{Steps: 300, MaxScale: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := stream{Rules: rules}
	for i := range 300 {
		o := guard.Observation{Step: int64(i + 1), Labels: 64, Loss: 2 + 0.01*float64(i%7), GradNorm: 1, LR: 1e-3}
		switch i {
		case 150: // an outlier by the first limits only
			o.Loss = 3
		case 250:
			o.Loss, o.GradNorm = 900, 900
		}
		s.Observations = append(s.Observations, o)
	}
	f, err := os.Create(p.streamOf(lifeGroups()[1].runs[0]))
	if err != nil {
		t.Fatal(err)
	}
	if err := gob.NewEncoder(f).Encode(s); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := p.life(&b); err != nil {
		t.Fatal(err)
	}
	row := "| very regular text | 1 | 300 | 64 | 0 | 1 | 0 | 0 | 1581.29 | 998.58 | 2, 0, 0 |"
	if !strings.Contains(b.String(), row) || !strings.Contains(log.String(), "E1-OUTLIER: step 251") {
		t.Errorf("no %s in\n%s\n%s", row, &b, &log)
	}
}
