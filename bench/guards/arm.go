package main

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/runlog"
)

// arm is one run of a comparison: all that its result depends on, beside the commit and the machine.
type arm struct {
	Set    []string `json:"set"`              // settings; $name stands for a text
	Inject []string `json:"inject,omitempty"` // faults
	Base   []string `json:"base,omitempty"`   // settings of a run whose weights this one starts from
	How    how      `json:"how,omitempty"`
	At     int64    `json:"at,omitempty"` // step of what How does

	label string // for the progress
}

// how says what is done beside training to the end.
type how string

const (
	howKill    how = "kill"    // kill -9 behind step At and again later, and resume
	howRestart how = "restart" // kill -9 behind step At, and train the rest from the saved weights alone
)

// key names an arm for the store.
func (a arm) key() string {
	raw, err := json.Marshal(a)
	if err != nil {
		panic("guards: an arm that JSON cannot hold")
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// outcome is what became of an arm.
type outcome struct {
	Loss      runlog.Float            `json:"loss"` // validation at the end, nats per token; NaN: there were no finite weights to measure
	Stable    runlog.Float            `json:"stable_loss,omitempty"`
	Right     runlog.Float            `json:"right,omitempty"` // share of texts of the grammar that are right and end
	Reason    string                  `json:"reason"`
	Step      int64                   `json:"step"` // updates that the weights have
	Made      int64                   `json:"made"` // steps computed, refused and rewound ones included
	Events    []seen                  `json:"events,omitempty"`
	Refused   int                     `json:"refused,omitempty"`
	Rewinds   int                     `json:"rewinds,omitempty"`
	Scale     runlog.Float            `json:"scale"`          // the guard's factor on the rate of the last step
	Peak      runlog.Float            `json:"peak"`           // largest rate that was applied
	Same      bool                    `json:"same,omitempty"` // weights, moments and log are those of the run that was not killed
	Whole     int                     `json:"whole"`          // checkpoints that verify
	Metrics   map[string]runlog.Float `json:"metrics,omitempty"`
	Speed     float64                 `json:"speed"`   // tokens a second of the fastest tenth of the steps
	Tokens    int64                   `json:"tokens"`  // learned from
	Seconds   float64                 `json:"seconds"` // with everything
	Processes int                     `json:"processes,omitempty"`
}

// seen is an event, as short as a table needs it.
type seen struct {
	Code     string `json:"code"`
	Severity string `json:"severity"`
	Step     int64  `json:"step"`
	Injected bool   `json:"injected,omitempty"`
	Tensor   string `json:"tensor,omitempty"`
	Message  string `json:"message,omitempty"`
}

// has reports whether an event whose code begins with one of the prefixes was seen.
func (o outcome) has(prefixes ...string) bool {
	return slices.ContainsFunc(o.Events, func(e seen) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(e.Code, p) })
	})
}

// codes counts the events by code, as in "2 E1-OUTLIER, I-NUDGE".
func (o outcome) codes() string {
	n := map[string]int{}
	for _, e := range o.Events {
		n[e.Code]++
	}
	var list []string
	for _, code := range slices.Sorted(maps.Keys(n)) {
		if n[code] > 1 {
			code = fmt.Sprintf("%d %s", n[code], code)
		}
		list = append(list, code)
	}
	return strings.Join(list, ", ")
}

// texts are the corpora by name.
type texts map[string]string

// findTexts names a path for every corpus: a shared text where it is there, else a part of the Go source tree.
func findTexts(shared, work string) (texts, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	source := func(names ...string) string {
		return filepath.Join(append([]string{strings.TrimSpace(string(root)), "src"}, names...)...)
	}
	t := texts{"go": source("encoding"), "go2": source("net", "http"), "go3": source("sort"),
		"opticks": source("testdata", "Isaac.Newton-Opticks.txt"), "entities": source("html"),
		"assembly": source("internal", "bytealg"), "tables": source("unicode"), "image": source("image"),
		"api": filepath.Join(filepath.Dir(source()), "api", "go1.13.txt")}
	for name, c := range map[string]struct{ file, instead string }{
		"shakespeare": {"tinyshakespeare.txt", source("strconv")},
		"sotu":        {"sotu.jsonl.gz", source("text")},
		"poems":       {"tang-poems-zh.jsonl.gz", source("unicode")},
		"perl":        {"perlfaq.jsonl", source("time")},
		"sums2":       {"gsm8k-test.jsonl", source("math")},
	} {
		path, err := filepath.Abs(filepath.Join(shared, c.file))
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			path = c.instead
		} else if err != nil {
			return nil, err
		}
		t[name] = path
	}
	t["grammar"] = filepath.Join(work, "grammar.txt")
	errs := []error{os.WriteFile(t["grammar"], []byte(grammar(9000)), 0o666)}
	for name := range regular {
		t[name] = filepath.Join(work, name+".txt")
		errs = append(errs, os.WriteFile(t[name], []byte(regularText(name)), 0o666))
	}
	for name, of := range map[string]string{"addresses": "sotu", "verses": "poems"} {
		t[name] = filepath.Join(work, name+".jsonl")
		errs = append(errs, firstLines(t[name], t[of], 400_000))
	}
	return t, errors.Join(errs...)
}

// firstLines writes the first lines of a text, at most so many bytes of them. A folder that stands in for it is linked.
func firstLines(to, from string, bytes int) error {
	if i, err := os.Stat(from); err == nil && i.IsDir() {
		return os.Symlink(from, to)
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	all, err := io.ReadAll(io.LimitReader(z, int64(bytes)))
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return os.WriteFile(to, all[:strings.LastIndexByte(string(all), '\n')+1], 0o666)
}

// fill puts the paths of texts into settings.
func (t texts) fill(settings []string) []string {
	var pairs []string
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(t))) { // $go2 before $go
		pairs = append(pairs, "$"+name, t[name])
	}
	r := strings.NewReplacer(pairs...)
	filled := make([]string, len(settings))
	for i, s := range settings {
		filled[i] = r.Replace(s)
	}
	return filled
}

// grammar writes documents of a small exact language, a line each: a number, and as many words of three that are the
// document's own. Whether a text is right, and ends where it must, can be told without a model.
func grammar(documents int) string {
	r := rand.New(rand.NewPCG(7, 11))
	var b strings.Builder
	for range documents {
		own := [3]string{word(r), word(r), word(r)}
		n := 2 + r.IntN(6)
		fmt.Fprintf(&b, "%d", n)
		for range n {
			b.WriteString(" " + own[r.IntN(3)])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func word(r *rand.Rand) string {
	pick := func(s string) byte { return s[r.IntN(len(s))] }
	return string([]byte{pick("bdfgklmnprst"), pick("aeiou"), pick("bdfgklmnprst"), pick("aeiou")})
}

// right reports whether a text is one of the grammar.
func right(text string) bool {
	f := strings.Fields(text)
	if len(f) < 2 || len(f[0]) != 1 || int(f[0][0]-'0') != len(f)-1 {
		return false
	}
	own := map[string]bool{}
	for _, w := range f[1:] {
		if len(w) != 4 {
			return false
		}
		own[w] = true
	}
	return len(own) <= 3
}
