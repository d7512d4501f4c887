package config

import (
	"strings"
)

// unknown returns the fault of a name that is not a key, with the nearest key.
func unknown(name string) string {
	if near := nearest(name); near != "" {
		return "unknown key; did you mean " + near + "?"
	}
	section, _, _ := strings.Cut(name, ".")
	var all []string
	for _, k := range keys {
		if s, short, _ := strings.Cut(k.name, "."); s == section {
			all = append(all, short)
		}
	}
	if all == nil {
		return "unknown key; the sections are " + strings.Join(sections, ", ")
	}
	return "unknown key; [" + section + "] has " + strings.Join(all, ", ")
}

// nearest returns the key whose name is closest to name, or "" if none is close: by edit distance of the whole name, or
// of its last part plus one (the right key under a wrong section).
func nearest(name string) string {
	best, at := 1+max(2, len(name)/4), ""
	last := name[strings.LastIndexByte(name, '.')+1:]
	for _, k := range keys {
		_, short, _ := strings.Cut(k.name, ".")
		d := min(distance(name, k.name), 1+distance(last, short))
		if d < best {
			best, at = d, k.name
		}
	}
	return at
}

// closest returns the choice that is at most two edits away from s, the first of the nearest; "" when there is none.
func closest(s string, choices []string) string {
	best, near := 3, ""
	for _, c := range choices {
		if d := distance(s, c); d < best {
			best, near = d, c
		}
	}
	return near
}

// distance is the optimal string alignment distance: insertions, deletions, substitutions, and swaps of neighbours.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a) // no key is that long; keeps a hostile name cheap
	}
	var before, prev, row []int
	for j := range len(b) + 1 {
		prev = append(prev, j)
	}
	for i := range len(a) {
		row = append(make([]int, 0, len(b)+1), i+1)
		for j := range len(b) {
			d := prev[j]
			if a[i] != b[j] {
				d++
			}
			d = min(d, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			row = append(row, d)
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}
