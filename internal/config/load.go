package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile is the largest configuration file that is read, in bytes: far above any real one.
const maxFile = 1 << 20

// Assignment is one value given on the command line.
type Assignment struct {
	Key    string   // dotted name
	Value  string   // text in the key's own form; strings need no quotes
	List   []string // instead of Value, for a key that takes a list (a flag that may be repeated)
	Origin string   // "--set", "flag --steps"; not empty

	broken bool // text of --set without "="
}

// Set returns the assignment of a --set key=value. Load reports a text without "=" as a fault. White space right after
// the "=" is part of the value: a separator may be a newline.
func Set(text string) Assignment {
	spaced, value, ok := strings.Cut(text, "=")
	key := strings.TrimSpace(spaced)
	if key != spaced { // "key = value"
		value = strings.TrimSpace(value)
	}
	return Assignment{Key: key, Value: value, Origin: "--set", broken: !ok}
}

// Load reads a configuration file and applies the assignments over it; path "" means no file. The error is an *Error
// with every fault.
func Load(path string, sets []Assignment) (*Config, error) {
	if path == "" {
		return Parse("", nil, sets)
	}
	var data []byte
	f, err := openFile(path)
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
		f.Close()
	}
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %d bytes; that is not a configuration", maxFile)
	}
	if err == nil {
		return Parse(filepath.Base(path), data, sets)
	}
	faults := []Fault{{Where: path, Text: err.Error()}}
	if _, err := Parse("", nil, sets); err != nil {
		faults = append(faults, err.(*Error).Faults...)
	}
	return nil, &Error{faults}
}

// openFile opens a file. It does not wait for a pipe that has a name; one without, as a shell makes it, has a writer.
func openFile(path string) (*os.File, error) {
	if at, err := filepath.EvalSymlinks(path); err == nil {
		if info, err := os.Stat(at); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file; give a file of TOML", path)
		}
	}
	return os.Open(path)
}

// Parse is Load for a file already in memory; name is what messages and origins call it.
func Parse(name string, data []byte, sets []Assignment) (*Config, error) {
	return build(parseTOML(name, data), sets)
}

// Reread parses what TOML wrote, with the origins that stand beside the values, and applies the assignments over it. A
// resumed run reads its own configuration with it. A key that did not exist when it was written gets the value that
// stands for what the program did then.
func Reread(name string, data []byte, sets []Assignment) (*Config, error) {
	entries := parseTOML(name, data)
	lines := strings.Split(string(data), "\n")
	for i, e := range entries {
		line := lines[e.line-1]
		if at := strings.LastIndex(line, originMark); at >= 0 {
			entries[i].origin = strings.TrimSpace(line[at+len(originMark):])
		}
	}
	none := len(entries) == 0 // it is no run's file, and every key has its default
	given := func(name string) bool {
		return slices.ContainsFunc(entries, func(e entry) bool { return e.key == name })
	}
	var lacks []string
	for _, k := range keys {
		if !k.newer && k.older == "" && !given(k.name) {
			lacks = append(lacks, k.name)
		}
		if k.older != "" && !none && !given(k.name) {
			value, err := k.parse(k.older)
			if err != nil {
				panic("config: an older value that the key does not take")
			}
			entries = append(entries, entry{key: k.name, value: value, where: name,
				origin: "as before the key existed"})
		}
	}
	c, err := build(entries, sets)
	if c != nil {
		c.lacks = lacks
	}
	return c, err
}

// entry returns the assignment as a file would have it.
func (s Assignment) entry() entry {
	e := entry{key: s.Key, where: s.Origin, origin: s.Origin}
	switch k := lookup(s.Key); {
	case s.broken:
		e.fault = "--set wants key=value"
	case s.List != nil:
		e.value = valueOf(s.List)
	case k != nil:
		var err error
		if e.value, err = k.parse(s.Value); err != nil {
			e.fault = err.Error()
		}
	}
	return e
}

// build applies entries and assignments over the defaults, puts the preset beneath them and checks the whole.
func build(entries []entry, sets []Assignment) (*Config, error) {
	for _, s := range sets {
		entries = append(entries, s.entry())
	}
	var faults []Fault
	c := Default()
	where := make(map[string]string) // of keys that were given
	faulty := make(map[string]bool)  // keys that already have a fault: no other is reported for them
	for _, e := range entries {
		if i := slices.IndexFunc(removed, func(r removedKey) bool { return r.name == e.key }); i >= 0 {
			const note = "%s: %s is ignored; it was removed because %s"
			c.notes = append(c.notes, fmt.Sprintf(note, e.where, e.key, removed[i].why))
			continue
		}
		k := lookup(e.key)
		if e.fault == "" && k == nil {
			e.fault = unknown(e.key)
		}
		if e.fault == "" {
			e.fault = k.assign(c, e.value)
		}
		if e.fault != "" {
			faults = append(faults, Fault{e.where, e.key, e.fault})
			faulty[e.key] = true
			continue
		}
		c.origins[e.key], where[e.key] = e.origin, e.where
	}
	if c.Model.Preset != "" {
		// Values from the file and the command line stay, whatever their recorded origin: a resumed run keeps its
		// values even if the preset has changed since.
		free := func(key string) bool { return where[key] == "" }
		if err := c.usePreset(c.Model.Preset, c.origins["model.preset"], free); err != nil {
			return nil, err
		}
	}
	faults = append(faults, c.cross(faulty, where)...)
	if len(faults) > 0 {
		return nil, &Error{faults}
	}
	return c, nil
}
