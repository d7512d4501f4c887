package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// outcome is what a scenario came to, without what differs from one run of it to the next.
type outcome struct {
	Exits     []string                   `json:"exits"`             // command and exit code
	Records   []record                   `json:"records,omitempty"` // of the effective log
	Hashes    map[string]string          `json:"hashes,omitempty"`  // sha256 by file of the run
	Documents map[string]json.RawMessage `json:"documents,omitempty"`
	Begun     []byte                     `json:"begun,omitempty"` // the run that another program opens, packed
	Seconds   float64                    `json:"seconds"`
}

// record is a line of the log.
type record struct {
	Where  string          `json:"where"` // kind, and code of an event
	Step   int64           `json:"step"`
	Fields json.RawMessage `json:"fields"`
}

// document keeps a JSON text under a name, cleaned.
func (o *outcome) document(c cleaner, name string, raw []byte) error {
	v, err := c.clean(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if o.Documents == nil {
		o.Documents = map[string]json.RawMessage{}
	}
	o.Documents[name], err = json.Marshal(v)
	return err
}

// read takes from a run's directory what must not change: the log, checkpoints, marks, and which files there are.
func (o *outcome) read(c cleaner, run string) error {
	o.Hashes = map[string]string{}
	var files, states []string
	err := filepath.WalkDir(run, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == run {
			return fs.SkipAll // refused
		}
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(run, path)
		if err != nil {
			return err
		}
		files = append(files, name)
		switch filepath.Base(path) {
		case "log.jsonl":
			return o.readLog(c, path)
		case "manifest.json", "config.toml", "run.toml", "report.md", "lock":
			return nil // sizes and times, paths, prose
		}
		if strings.HasPrefix(name, "samples") {
			return nil // prose around what the evaluations have as numbers
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if base := filepath.Base(path); base == "state.json" {
			states = append(states, name)
		} else if base != "marks.json" && base != "health.json" && !strings.HasPrefix(name, "refused") {
			sum := sha256.Sum256(raw)
			o.Hashes[name] = hex.EncodeToString(sum[:])
			return nil
		}
		return o.document(c, name, raw) // with paths, times or sentences in it
	})
	if err != nil {
		return err
	}
	slices.SortFunc(states, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	for _, name := range states[:max(0, len(states)-1)] {
		delete(o.Documents, name) // the newest state is enough
	}
	list, err := json.Marshal(files)
	if err != nil {
		return err
	}
	return o.document(c, "files", list)
}

// readLog takes the effective records, each kind in the order of batches and steps.
func (o *outcome) readLog(c cleaner, path string) error {
	l, err := runlog.Read(durable.OS, path)
	if err != nil {
		return err
	}
	list := l.Effective().Records
	slices.SortStableFunc(list, func(a, b runlog.Record) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.At.Batch, b.At.Batch), cmp.Compare(a.At.Step, b.At.Step))
	})
	for _, r := range list {
		where := r.Kind
		if e, ok := r.Value.(runlog.Event); ok {
			if where += "/" + e.Code; e.Code == codeSlowDisk && !e.Injected {
				continue // the machine's own disk
			}
		}
		v, err := c.clean(r.Raw)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		o.Records = append(o.Records, record{where, r.At.Step, raw})
	}
	return nil
}

// ofProcess reports whether a record tells about a process and not about the training.
func (r record) ofProcess() bool {
	kind, code, _ := strings.Cut(r.Where, "/")
	return slices.Contains([]string{"start", "resume", "end", "plan", "probe", "preflight"}, kind) ||
		strings.HasPrefix(code, "F-") || strings.HasPrefix(code, "P-")
}

// core is what does not depend on how many processes made a run, and on how many processors.
func (o outcome) core() outcome {
	o.Exits = slices.Clone(o.Exits[max(0, len(o.Exits)-3):]) // the last process, eval and why
	for i, e := range o.Exits {
		o.Exits[i] = strings.Replace(e, "resume", "train", 1)
	}
	o.Records = slices.DeleteFunc(slices.Clone(o.Records), record.ofProcess)
	o.Documents = maps.Clone(o.Documents)
	if raw, ok := o.Documents["why"]; ok {
		o.Documents["why"] = coreOfStory(raw)
	}
	delete(o.Documents, "files") // an interrupt writes a report more
	return o
}

// coreOfStory is what a story says of the run as it is. The rest of it tells what happened, and that may have been done
// twice.
func coreOfStory(raw json.RawMessage) json.RawMessage {
	v, err := decode(raw)
	if err != nil {
		panic("matrix: a cleaned document is no JSON")
	}
	story, _ := v.(map[string]any)
	kept := map[string]any{}
	for _, key := range []string{"steps", "rate", "loss"} {
		kept[key] = story[key]
	}
	if replay, ok := story["replay"].(map[string]any); ok {
		kept["differences"] = replay["differences"]
	} else {
		kept["differences"] = story["differences"]
	}
	out, err := json.Marshal(kept)
	if err != nil {
		panic("matrix: a decoded document cannot be written")
	}
	return out
}

// cleaner takes out of JSON what may differ from run to run, and what is said to people.
type cleaner struct{ roots []string } // directories that differ from run to run

func (c cleaner) clean(raw []byte) (any, error) {
	v, err := decode(raw)
	if err != nil {
		return nil, err
	}
	return c.value(v), nil
}

const codeSlowDisk = "F-SLOW-DISK"

// slowDisk reports an event of a story that is of the machine's own disk.
func slowDisk(v any) bool {
	event, ok := v.(map[string]any)
	return ok && event["code"] == codeSlowDisk && event["injected"] != true
}

// dryRun is the folder of a dry run, which is removed at its end.
var dryRun = regexp.MustCompile(`^.*gimbal-dry-run-\d+`)

// decode keeps numbers as they are written.
func decode(raw []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func (c cleaner) value(v any) any {
	switch v := v.(type) {
	case string:
		for _, root := range c.roots {
			v = strings.ReplaceAll(v, root, "$work")
		}
		if strings.HasPrefix(v, "failed: ") {
			return "failed" // the end of a process; the rest is said to people
		}
		return dryRun.ReplaceAllString(v, "$$work")
	case []any:
		list := []any{}
		for _, e := range v {
			if !slowDisk(e) {
				list = append(list, c.value(e))
			}
		}
		return list
	case map[string]any:
		kept := map[string]any{}
		for key, e := range v {
			if !leftOut(key, e) && !ofMachine(v["code"], key) {
				kept[key] = c.value(e)
			}
		}
		if numbers, ok := kept["numbers"].(map[string]any); ok {
			for key := range numbers {
				if ofMachine(v["code"], key) {
					delete(numbers, key)
				}
			}
		}
		return kept
	}
	return v
}
