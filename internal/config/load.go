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

// Set returns the assignment of a --set key=value. A text without "=" becomes a fault of Load.
func Set(text string) Assignment {
	key, value, ok := strings.Cut(text, "=")
	return Assignment{Key: strings.TrimSpace(key), Value: strings.TrimSpace(value), Origin: "--set", broken: !ok}
}

// Load reads a configuration file and applies the assignments over it; path "" means no file.
//
// Every fault is found before it returns: the error is an *Error.
func Load(path string, sets []Assignment) (*Config, error) {
	if path == "" {
		return Parse("", nil, sets)
	}
	var data []byte
	f, err := os.Open(path)
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

// Parse is Load for a file already in memory; name is what messages and origins call it.
func Parse(name string, data []byte, sets []Assignment) (*Config, error) {
	return build(parseTOML(name, data), sets)
}

// Reread parses what TOML wrote, with the origins that TOML recorded beside the values, and applies the
// assignments over it. It is how a run's own configuration is read when the run is resumed.
func Reread(name string, data []byte, sets []Assignment) (*Config, error) {
	entries := parseTOML(name, data)
	lines := strings.Split(string(data), "\n")
	for i, e := range entries {
		line := lines[e.line-1]
		if at := strings.LastIndex(line, originMark); at >= 0 {
			entries[i].origin = strings.TrimSpace(line[at+len(originMark):])
		}
	}
	return build(entries, sets)
}

// build applies entries and assignments over the defaults, puts the preset beneath them and checks the whole.
func build(entries []entry, sets []Assignment) (*Config, error) {
	var faults []Fault
	c := Default()
	where := make(map[string]string) // of what was given, for faults that are found later
	faulty := make(map[string]bool)  // keys that already have a fault: nothing more is said about them
	apply := func(name, at, origin string, v literal, fault string) {
		k := lookup(name)
		if i := slices.IndexFunc(removed, func(r removedKey) bool { return r.name == name }); i >= 0 {
			c.notes = append(c.notes, fmt.Sprintf("%s: %s is ignored, it is no more: %s", at, name, removed[i].why))
			return
		}
		switch {
		case fault != "":
		case k == nil:
			fault = unknown(name)
		default:
			fault = k.assign(c, v)
		}
		if fault != "" {
			faults = append(faults, Fault{at, name, fault})
			faulty[name] = true
			return
		}
		c.origins[name], where[name] = origin, at
	}
	for _, e := range entries {
		apply(e.key, e.where, e.origin, e.value, e.fault)
	}
	for _, s := range sets {
		v, fault := literal{}, ""
		if s.broken {
			fault = "--set wants key=value"
		} else if s.List != nil {
			v = literalOf(s.List)
		} else if k := lookup(s.Key); k != nil {
			var err error
			if v, err = k.parse(s.Value); err != nil {
				fault = err.Error()
			}
		}
		apply(s.Key, s.Origin, s.Origin, v, fault)
	}
	if c.Model.Preset != "" {
		// What the file and the command line gave stays, whatever its recorded origin: a resumed run keeps its
		// values even where a preset has changed since.
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
