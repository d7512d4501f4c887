package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gimbal"
	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/runs"
)

// The verdicts on a damage.
const (
	missed   = ""
	named    = "named"
	harmless = "harmless"
	prose    = "prose"
)

// result is what became of a damage.
type result struct {
	kind    string // of file
	file    string
	how     string
	verdict string
	said    string
}

func (r result) String() string { return fmt.Sprintf("%s: %s: %s", r.file, r.how, r.said) }

// subject is a run and an export of it, and what they give while they are whole.
type subject struct {
	work  string
	files []string // of both, below work
	whole map[string]string
}

// newSubject makes the run and the export, unless they are there.
func newSubject(work string) (*subject, error) {
	s := &subject{work: work, whole: map[string]string{}}
	run, export, texts := filepath.Join(work, "run"), filepath.Join(work, "export"), filepath.Join(work, "texts")
	if _, err := os.Stat(export); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(texts, 0o777); err != nil {
			return nil, err
		}
		for i := range 30 {
			text := strings.Repeat(fmt.Sprintf("file %d has %d words of its own, and no more. ", i, i*i), 8)
			if err := os.WriteFile(filepath.Join(texts, fmt.Sprintf("%03d.txt", i)), []byte(text), 0o666); err != nil {
				return nil, err
			}
		}
		_, err := gimbal.Train(context.Background(), gimbal.TrainOptions{Data: []string{texts}, Out: run, Steps: 30,
			Inject: []string{"nan-grad@12"}, Set: []string{"tokenizer.kind=bytes", "model.layers=1", "model.width=16",
				"model.heads=1", "train.context=64", "train.batch_tokens=128", "checkpoint.every=10", "eval.every=10"}})
		if err == nil {
			_, err = gimbal.Export(context.Background(), run, export, gimbal.ExportOptions{Checkpoint: "last"})
		}
		if err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{run, export} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				name, rerr := filepath.Rel(work, path)
				s.files, err = append(s.files, name), rerr
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		said, gives := s.look(filepath.Base(dir))
		if said != "" {
			return nil, fmt.Errorf("the %s is not whole: %s", filepath.Base(dir), said)
		}
		s.whole[filepath.Base(dir)] = gives
	}
	return s, nil
}

// look returns what is said of the damage of a directory, and a sum of all that it gives.
func (s *subject) look(which string) (said, gives string) {
	dir := filepath.Join(s.work, which)
	if which == "export" {
		c, err := checkpoint.OpenWeights(durable.Inside(dir), dir)
		if err != nil {
			return err.Error(), ""
		}
		c.Close()
		return "", s.sums(dir, nil)
	}
	x, err := runs.Examine(dir)
	if err != nil {
		return err.Error(), ""
	}
	for _, p := range x.Parts {
		if p.State != runs.Whole {
			said += fmt.Sprintf("%s is %s: %s\n", p.Name, p.State, p.Detail)
		}
	}
	if said != "" {
		return said, ""
	}
	c, err := rundir.OpenCheckpoint(dir, "")
	if err != nil {
		return err.Error(), ""
	}
	defer c.Close()
	why, err := runs.Why(dir)
	if err != nil {
		return err.Error(), ""
	}
	raw, err := json.Marshal([]any{why, runs.Read(dir).State, c.Step(), x.Resume})
	if err != nil {
		return err.Error(), ""
	}
	return "", s.sums(dir, raw)
}

// sums is a sum over the files that give a result, and over more.
func (s *subject) sums(dir string, more []byte) string {
	h := sha256.New()
	h.Write(more)
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && gives.MatchString(filepath.ToSlash(path)) {
			raw, _ := os.ReadFile(path)
			fmt.Fprintf(h, "%s %d\n", path, len(raw))
			h.Write(raw)
		}
		return nil
	})
	return fmt.Sprintf("%x", h.Sum(nil))
}

// gives are the files whose bytes are results: models, and what goes with them.
var gives = regexp.MustCompile(`\.safetensors$|/(config|tokenizer|generation_config|tokenizer_config|state)\.json$`)

// forPeople are texts that people read, and may edit.
var forPeople = regexp.MustCompile(`/(report|post-mortem|eval-\d+)\.md$|/batch-\d+\.json$`)

var number = regexp.MustCompile(`\d+`)

// damage makes damage number i and takes it back.
func (s *subject) damage(seed uint64, i int) (r result, err error) {
	rng := rand.New(rand.NewPCG(seed, uint64(i)))
	name := s.files[rng.IntN(len(s.files))]
	at := filepath.Join(s.work, name)
	raw, err := os.ReadFile(at)
	if err != nil {
		return r, err
	}
	bad, how := s.change(rng, bytes.Clone(raw))
	r = result{kind: number.ReplaceAllString(name, "N"), file: name, how: how, verdict: missed}
	if bad == nil {
		err = os.Remove(at)
	} else {
		err = os.WriteFile(at, bad, 0o666)
	}
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.WriteFile(at, raw, 0o666)) }()
	which, inside, _ := strings.Cut(filepath.ToSlash(name), "/")
	said, gives := s.look(which)
	switch {
	case said != "" && strings.Contains(filepath.ToSlash(said), part(inside)):
		r.verdict, r.said = named, said
	case said != "":
		r.said = "another part is named: " + said
	case gives != s.whole[which]:
		r.said = "something else came of it"
	case forPeople.MatchString(filepath.ToSlash(name)) && !bytes.Equal(bad, raw):
		r.verdict = prose
	default:
		r.verdict = harmless
	}
	return r, nil
}

// part is the part of a run or an export that a file belongs to.
func part(inside string) string {
	if dir, _, ok := strings.Cut(strings.TrimPrefix(inside, "checkpoints/"), "/"); ok &&
		strings.HasPrefix(dir, "step-") {
		return "checkpoints/" + dir
	}
	return inside
}

// change damages the bytes of a file; nil: it is deleted.
func (s *subject) change(rng *rand.Rand, b []byte) (bad []byte, how string) {
	if len(b) == 0 {
		return []byte("x"), "a byte in an empty file"
	}
	at := rng.IntN(len(b))
	most := min(len(b)-at, 1+rng.IntN(64))
	switch rng.IntN(12) {
	case 0, 1, 2:
		b[at] ^= 1 << rng.IntN(8)
		return b, fmt.Sprintf("a bit of byte %d", at)
	case 3, 4:
		b[at] = byte(rng.IntN(256))
		return b, fmt.Sprintf("byte %d is %q", at, b[at])
	case 5:
		return b[:at], fmt.Sprintf("cut after %d bytes", at)
	case 6:
		clear(b[at : at+most])
		return b, fmt.Sprintf("%d bytes of zero at %d", most, at)
	case 7:
		return append(b, bytes.Repeat([]byte{byte(rng.IntN(256))}, most)...), fmt.Sprintf("%d bytes more", most)
	case 8:
		return append(b[:at:at], b[at+most:]...), fmt.Sprintf("%d bytes less at %d", most, at)
	case 9:
		lines := bytes.SplitAfter(b, []byte("\n"))
		k := rng.IntN(len(lines))
		lines[k] = nil
		return bytes.Join(lines, nil), fmt.Sprintf("without line %d", k+1)
	case 10:
		lines := bytes.SplitAfter(b, []byte("\n"))
		i, k := rng.IntN(len(lines)), rng.IntN(len(lines))
		lines[i], lines[k] = lines[k], lines[i]
		return bytes.Join(lines, nil), fmt.Sprintf("lines %d and %d changed places", i+1, k+1)
	}
	if rng.IntN(4) == 0 {
		return nil, "deleted"
	}
	other, err := os.ReadFile(filepath.Join(s.work, s.files[rng.IntN(len(s.files))]))
	if err != nil {
		return nil, "deleted"
	}
	return other, "the bytes of another file"
}
