package memory

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Resident returns the memory of this process that is in RAM, in bytes, without mapped files.
func Resident() int64 {
	raw, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(raw))
	if len(fields) < 3 {
		return 0
	}
	resident, _ := strconv.ParseInt(fields[1], 10, 64)
	shared, _ := strconv.ParseInt(fields[2], 10, 64)
	return (resident - shared) * int64(os.Getpagesize())
}

// Free returns the memory that this process can still take, in bytes: what the machine has available, or what the
// process's control groups (a container, a slice) leave if that is less. 0 means unknown.
func Free() int64 {
	free := figure("/proc/meminfo", "MemAvailable:") << 10
	if room, limited := groupRoom("/sys/fs/cgroup", "/proc/self/cgroup"); limited && (free == 0 || room < free) {
		free = max(1, room)
	}
	return free
}

// figure reads the number after key at the beginning of a line, 0 where it is not there.
func figure(name, key string) int64 {
	raw, _ := os.ReadFile(name)
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n
		}
	}
	return 0
}

// groupRoom returns the least memory that a control group of this process still allows, from its own up to the root:
// limit minus use, where cached files count as free. limited is false if no group has a limit. It reads both versions
// of the interface.
func groupRoom(root, self string) (room int64, limited bool) {
	raw, _ := os.ReadFile(self)
	for line := range strings.Lines(string(raw)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy:controllers:path
		if len(parts) != 3 {
			continue
		}
		base, limitFile, useFile, cache := root, "memory.max", "memory.current", "inactive_file "
		if parts[1] == "memory" {
			base, limitFile = filepath.Join(root, "memory"), "memory.limit_in_bytes"
			useFile, cache = "memory.usage_in_bytes", "total_inactive_file "
		} else if parts[1] != "" {
			continue
		}
		for path := filepath.Clean("/" + parts[2]); ; path = filepath.Dir(path) {
			dir := filepath.Join(base, path)
			limit, err := number(filepath.Join(dir, limitFile))
			use, uerr := number(filepath.Join(dir, useFile))
			if cmp.Or(err, uerr) == nil && limit < 1<<60 { // the first version writes a huge number for none
				left := limit - use + figure(filepath.Join(dir, "memory.stat"), cache)
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

// number reads a file that holds one number. It fails for "max".
func number(name string) (int64, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
}
