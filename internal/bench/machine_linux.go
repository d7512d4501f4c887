package bench

import (
	"os"
	"strconv"
	"strings"
)

// peakMemory is the most memory of its own that this process has had in RAM: without mapped files.
func peakMemory() int64 {
	return status("VmHWM") - status("RssFile")
}

// status returns a size of /proc/self/status in bytes, 0 if it is not there.
func status(key string) int64 {
	kib, _ := strconv.ParseInt(strings.TrimSuffix(field("/proc/self/status", key), " kB"), 10, 64)
	return kib << 10
}

// CPUName is the model of the CPU, as the system names it.
func CPUName() string {
	if name := field("/proc/cpuinfo", "model name"); name != "" {
		return name
	}
	return "unknown"
}

// field returns the first "key: value" of a file under /proc.
func field(path, key string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
