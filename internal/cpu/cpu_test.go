package cpu

import (
	"os"
	"regexp"
	"runtime"
	"testing"
)

// TestAgainstProc compares the features with what Linux reports: a set that
// the kernel lists and this package denies would silently cost speed.
func TestAgainstProc(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		if AVX2FMA || AVX512 || AVX512BF16 || AMXBF16 {
			t.Fatal("an amd64 feature is set on another architecture")
		}
		return
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skipf("no /proc/cpuinfo to compare with: %v", err)
	}
	has := func(names ...string) bool {
		for _, n := range names {
			if !regexp.MustCompile(`(?m)^flags\s*:.*\b` + n + `\b`).Match(info) {
				return false
			}
		}
		return true
	}
	if m := regexp.MustCompile(`(?m)^vendor_id\s*: (\w+)$`).FindSubmatch(info); Vendor != "" && m != nil &&
		string(m[1]) != Vendor {
		t.Errorf("Vendor = %s, /proc/cpuinfo says %s", Vendor, m[1])
	}
	avx512 := []string{"avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512dq"}
	for _, c := range []struct {
		name string
		got  bool
		want bool
	}{
		{"AVX2FMA", AVX2FMA, has("avx2", "fma")},
		{"AVX512", AVX512, has(avx512...)},
		{"AVX512BF16", AVX512BF16, has(append(avx512, "avx512_bf16")...)},
		{"AMXBF16", AMXBF16, has(append(avx512, "avx512_bf16", "amx_tile", "amx_bf16")...)},
	} {
		if c.got != c.want {
			t.Errorf("%s = %v, /proc/cpuinfo says %v", c.name, c.got, c.want)
		}
	}
}
