package engine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// freeMemory is what this process can still take, in bytes: what the machine has available, and no more than the
// control groups (a container, a slice) that it runs in leave it. 0 when it cannot be known.
func freeMemory() int64 {
	free := available("/proc/meminfo")
	if room, limited := groupRoom("/sys/fs/cgroup", "/proc/self/cgroup"); limited && (free == 0 || room < free) {
		free = max(1, room)
	}
	return free
}

// available is the machine's own figure.
func available(meminfo string) int64 {
	raw, err := os.ReadFile(meminfo)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// groupRoom returns the least that the control groups of this process still allow, from its own up to the root: limit
// minus use, where cached files count as free. limited is false where no group has a limit. Both versions of the
// interface are read.
func groupRoom(root, self string) (room int64, limited bool) {
	raw, err := os.ReadFile(self)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(raw)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy:controllers:path
		if len(parts) != 3 {
			continue
		}
		base, limitFile, useFile, cache := root, "memory.max", "memory.current", "inactive_file "
		if parts[1] == "memory" {
			base, limitFile, useFile, cache = filepath.Join(root, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "
		} else if parts[1] != "" {
			continue
		}
		for path := filepath.Clean("/" + parts[2]); ; path = filepath.Dir(path) {
			dir := filepath.Join(base, path)
			limit, ok := readNumber(filepath.Join(dir, limitFile))
			use, ok2 := readNumber(filepath.Join(dir, useFile))
			if ok && ok2 && limit < 1<<60 { // the first version writes a huge number for none
				left := limit - use + cached(filepath.Join(dir, "memory.stat"), cache)
				if !limited || left < room {
					room, limited = left, true
				}
			}
			if path == "/" {
				break
			}
		}
	}
	return room, limited
}

// readNumber reads a file that holds one number; ok is false for "max" and for none.
func readNumber(name string) (n int64, ok bool) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	return n, err == nil
}

// cached reads one figure of a memory.stat, 0 where it is not there.
func cached(name, key string) int64 {
	raw, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}
