package kernel

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestWords disassembles every macro of neon_arm64.h with several registers and
// compares it with the instruction that the comment above it promises.
func TestWords(t *testing.T) {
	objdump := "aarch64-linux-gnu-objdump"
	if runtime.GOARCH == "arm64" && runtime.GOOS == "linux" {
		if _, err := exec.LookPath(objdump); err != nil {
			objdump = "objdump"
		}
	}
	// Beneath an emulator it is the host's, which may not know this architecture.
	if list, err := exec.Command(objdump, "-i").Output(); err != nil || !strings.Contains(string(list), "aarch64") {
		t.Skipf("no disassembler: %s knows no aarch64 (%v)", objdump, err)
	}
	header, err := os.ReadFile("neon_arm64.h")
	if err != nil {
		t.Fatal(err)
	}
	macro := regexp.MustCompile(`(?m)^// (.+)\n#define (\w+)\([a-z, ]+\) WORD ` +
		`\$\((0x[0-9a-f]{8})((?: \| \([mnd]\)(?:<<\d+)?)+)\)$`)
	operand := regexp.MustCompile(`\(([mnd])\)(?:<<(\d+))?`)
	found := macro.FindAllStringSubmatch(string(header), -1)
	if n := strings.Count(string(header), "#define"); len(found) != n || n == 0 {
		t.Fatalf("understood %d of %d macros", len(found), n)
	}
	var code []byte
	var names, want []string
	for _, f := range found {
		base, err := strconv.ParseUint(f[3], 0, 32)
		if err != nil {
			t.Fatal(err)
		}
		for _, regs := range []map[string]uint64{{"m": 17, "n": 9, "d": 26}, {"m": 0, "n": 31, "d": 5},
			{"m": 31, "n": 0, "d": 22}} {
			word, text := base, f[1]
			for _, o := range operand.FindAllStringSubmatch(f[4], -1) {
				shift := 0
				if o[2] != "" {
					if shift, err = strconv.Atoi(o[2]); err != nil {
						t.Fatal(err)
					}
				}
				if field := uint64(31) << shift; word&field != 0 && f[2] != "COPY" {
					t.Errorf("%s: operand %s falls on bits that are set", f[2], o[1])
				}
				word |= regs[o[1]] << shift
				text = strings.ReplaceAll(text, "{"+o[1]+"}", strconv.FormatUint(regs[o[1]], 10))
			}
			code = binary.LittleEndian.AppendUint32(code, uint32(word))
			names, want = append(names, f[2]), append(want, text)
		}
	}
	file := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-D", "-b", "binary", "-m", "aarch64", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^ *[0-9a-f]+:\t[0-9a-f]{8} +\t(.+)$`).FindAllStringSubmatch(string(out), -1)
	if len(lines) != len(want) {
		t.Fatalf("%d words gave %d instructions:\n%s", len(want), len(lines), out)
	}
	for i, l := range lines {
		if got := strings.Join(strings.Fields(l[1]), " "); got != want[i] {
			t.Errorf("%s is %q, not %q", names[i], got, want[i])
		}
	}
}
