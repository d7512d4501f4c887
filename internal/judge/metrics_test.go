package judge

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// golden is what testdata/metrics.py recorded.
type golden struct {
	Source                       string
	Texts, Train                 [][]int32
	Rep3, Rep4, Loop, Match      []float64
	Novel5                       []float64
	SelfBLEU                     []float64 `json:"self_bleu"`
	Distinct2, Distinct3         float64
	CompressionText              []string `json:"compression_text"`
	Compression                  float64
	Corpus, Sentences            []string
	Prompts                      []int
	Cosine                       [][]float64
	Within, Between, Consistency float64
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Texts) < 8 || len(g.Sentences) < 4 || g.Source == "" {
		t.Fatal("the recorded file is empty")
	}
	return g
}

func bytesOf(texts []string) (out [][]byte) {
	for _, s := range texts {
		out = append(out, []byte(s))
	}
	return out
}

// Every metric agrees with an independent implementation (nltk, scikit-learn, numpy, difflib, zlib; versions in the
// file).
func TestMetricsAgreeWithOthers(t *testing.T) {
	g := readGolden(t)
	t.Log(g.Source)
	same := func(what string, got, want, tolerance float64) {
		t.Helper()
		if !(math.Abs(got-want) <= tolerance) {
			t.Errorf("%s: %v, recorded %v", what, got, want)
		}
	}
	bleu := SelfBLEU(g.Texts)
	match, novel := copied(g.Texts, slices.Values(g.Train))
	long := 0
	for i, ids := range g.Texts {
		same("rep-3", Repetition(ids, 3), g.Rep3[i], 1e-12)
		same("rep-4", Repetition(ids, 4), g.Rep4[i], 1e-12)
		loop, _ := Loop(ids)
		same("loop", float64(loop), g.Loop[i], 0)
		same("self-BLEU", bleu[i], g.SelfBLEU[i], 1e-12)
		same("novelty", novel[i], g.Novel5[i], 1e-12)
		want := g.Match[i]
		if want < seedTokens {
			want = 0
		} else {
			long++
		}
		same("longest match", match[i], want, 0)
	}
	if long < 3 {
		t.Errorf("only %d texts have a long match: the test says little", long)
	}
	same("distinct-2", Distinct(g.Texts, 2), g.Distinct2, 1e-12)
	same("distinct-3", Distinct(g.Texts, 3), g.Distinct3, 1e-12)
	same("compression", Compression(bytesOf(g.CompressionText)), g.Compression,
		0.05*g.Compression) // other choices of the same format

	sif := newHashSIF(false, slices.Values(bytesOf(g.Corpus)))
	s := newSpace(sif, bytesOf(g.Corpus))
	var vectors [][]float64
	for _, text := range g.Sentences {
		vectors = append(vectors, s.vector([]byte(text)))
	}
	for i := range vectors {
		for k := range vectors {
			same("cosine", dot(vectors[i], vectors[k]), g.Cosine[i][k], 1e-6)
		}
	}
	sim := compare(vectors, g.Prompts, 2)
	same("W", sim.within([]int{1, 1}), g.Within, 1e-6)
	same("X", sim.between([]int{1, 1}), g.Between, 1e-6)
	same("C", sim.consistency([]int{1, 1}), g.Consistency, 1e-6)
	if !(g.Within > g.Between+0.02) {
		t.Errorf("sentences of one topic are no more alike (%.3f) than of two (%.3f)", g.Within, g.Between)
	}
}

func TestConsistencyOfAConstantModel(t *testing.T) {
	for _, tt := range []struct{ w, x, want float64 }{{1, 1, 0}, {0.5, 0.5, 0}, {1, 0, 1}, {0.6, 0.2, 0.5}} {
		if got := Consistency(tt.w, tt.x); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("W %v X %v: %v", tt.w, tt.x, got)
		}
	}
}

func TestUnbalanced(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "f(a[1]) {}": 0, "f(a[1)": 3, "((": 2, "))": 2, `say "yes"`: 0, `say "yes`: 1, "don't": 0,
		"「好」（是）": 0, "「好": 1, "„gut“": 0, "“good”": 0, "“good": 1,
	} {
		if got := unbalanced([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestParsesAsGo(t *testing.T) {
	for text, want := range map[string]bool{
		"package p\n\nfunc f() {}\n":                                   true, // its first line may be cut
		"\npackage p\n\nfunc f() {}\n":                                 true,
		"tail of a line\n\tx := f(a)\n\tif x {\n":                      true,
		"...\n\t}\n\treturn nil\n}\n\nfunc g() error {\n\treturn f(\n": true,
		"...\n\t{\"a\", 1},\n\t{\"b\", 2},\nhalf":                      true,
		"...\nthe cat sat on the mat\n":                                false,
		"...\n\tx := := y\n":                                           false,
		"...\n\tif x ) {\n":                                            false,
		"...\n// only a comment\n":                                     false,
		"no line":                                                      false,
		"":                                                             false,
	} {
		if got := ParsesAsGo([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// The interval of a mean holds the true mean in about 95 of 100 cases when whole prompts vary, where one that takes
// samples for independent holds it far less often.
func TestIntervalsAreByPrompt(t *testing.T) {
	r := random(t, 20)
	const prompts, samples, n = 20, 5, 100
	held, naive := 0, 0
	for range n {
		var values []float64
		var prompt, own []int
		for k := range samples {
			for p := range prompts {
				prompt, own = append(prompt, p), append(own, k*prompts+p)
			}
		}
		level := make([]float64, prompts)
		for p := range level {
			level[p] = r.NormFloat64()
		}
		for _, p := range prompt {
			values = append(values, level[p]+0.3*r.NormFloat64())
		}
		if e := bootstrapMean(values, prompt, prompts); e.Lo <= 0 && 0 <= e.Hi {
			held++
		}
		if e := bootstrapMean(values, own, prompts*samples); e.Lo <= 0 && 0 <= e.Hi {
			naive++
		}
	}
	t.Logf("by prompt %d of %d hold the truth, by sample %d", held, n, naive)
	if held < n*88/100 || naive > n*75/100 {
		t.Errorf("by prompt %d of %d, by sample %d", held, n, naive)
	}
}

// Bootstrap and jackknife agree with the formula of the standard error where there is one.
func TestStandardErrors(t *testing.T) {
	values := []float64{1, 4, 2, 8, 5, 7, 3, 3, 9, 6}
	own := make([]int, len(values))
	sum := 0.0
	for i, v := range values {
		own[i] = i
		sum += v
	}
	_, sd := meanSD(values)
	want := sd / math.Sqrt(float64(len(values)))
	b := bootstrapMean(values, own, len(values))
	if math.Abs(b.SE-want*math.Sqrt(0.9)) > 0.05*want {
		t.Errorf("bootstrap %v, formula %v", b.SE, want*math.Sqrt(0.9))
	}
	var without []float64
	for _, v := range values {
		without = append(without, (sum-v)/float64(len(values)-1))
	}
	if j := jackknife(sum/10, without); math.Abs(j.SE-want) > 1e-12 {
		t.Errorf("jackknife %v, formula %v", j.SE, want)
	}
	if e := bootstrapMean([]float64{nan, nan}, []int{0, 1}, 2); !math.IsNaN(e.Value) {
		t.Errorf("of nothing: %+v", e)
	}
}
