package gimbal_test

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestReadmeInstalls runs the command with which README.md installs Gimbal, and wants a static binary of it. .ci/readme
// runs the same line, and the other commands of the page.
func TestReadmeInstalls(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var command []string
	for line := range strings.Lines(string(page)) {
		if strings.Contains(line, "go install ") && !strings.Contains(line, "`") {
			command = strings.Fields(line)
		}
	}
	bin := t.TempDir()
	env := append(os.Environ(), "CGO_ENABLED=1", "GOBIN="+bin)
	for len(command) > 0 && strings.Contains(command[0], "=") {
		env, command = append(env, command[0]), command[1:]
	}
	if len(command) == 0 {
		t.Fatal("README.md installs nothing")
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	name := filepath.Join(bin, "gimbal")
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if err := static(name); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command(name, "version").Output(); err != nil || !bytes.HasPrefix(out, []byte("gimbal ")) {
		t.Errorf("gimbal version: %v\n%s", err, out)
	}
}

// static returns what makes a program depend on others: cgo, or on systems with ELF a loader.
func static(name string) error {
	f, err := elf.Open(name)
	if err == nil {
		defer f.Close()
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				return errors.New("the binary is dynamic: it names a loader")
			}
		}
	}
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		return err
	}
	for _, s := range info.Settings {
		if s.Key == "CGO_ENABLED" && s.Value != "0" {
			return fmt.Errorf("the binary was built with CGO_ENABLED=%s", s.Value)
		}
	}
	return nil
}

// TestStaticSeesALoader plants what TestReadmeInstalls looks for.
func TestStaticSeesALoader(t *testing.T) {
	var b bytes.Buffer
	head := elf.Header64{Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1},
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56,
		Phnum: 1, Shentsize: 64}
	err := errors.Join(binary.Write(&b, binary.LittleEndian, head),
		binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_INTERP)}))
	name := filepath.Join(t.TempDir(), "dynamic")
	if err := errors.Join(err, os.WriteFile(name, b.Bytes(), 0o666)); err != nil {
		t.Fatal(err)
	}
	if err := static(name); err == nil || !strings.Contains(err.Error(), "loader") {
		t.Errorf("a program with a loader is called static: %v", err)
	}
}
