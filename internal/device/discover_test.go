//go:build linux

package device

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFind lays out packages as pip does, and a python that knows where they are.
func TestFind(t *testing.T) {
	root := t.TempDir()
	site := filepath.Join(root, "lib", "python3.12", "site-packages")
	for _, name := range []string{
		"jax_plugins/xla_cuda12/xla_cuda_plugin.so", "jax_plugins/xla_cuda13/xla_cuda_plugin.so",
		"nvidia/cu13/bin/ptxas", "nvidia/cu13/lib/libcublas.so.13", "nvidia/cudnn/lib/libcudnn.so.9",
		"jax_plugins/xla_rocm7/xla_rocm_plugin.so", "libtpu/libtpu.so", "some_cpu/libpjrt_cpu.so", "other/lib.so",
	} {
		path := filepath.Join(site, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	python := "#!/bin/sh\necho hello\necho\necho " + site + "\n"
	for dir, text := range map[string]string{"wrapped": python, "bin": "#!/bin/sh\nexit 1\n"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, "python3"), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mine := filepath.Join(root, "mine_rocm.so")
	t.Setenv("LD_LIBRARY_PATH", "/before")
	t.Setenv("XLA_FLAGS", "--mine")
	t.Setenv(envPlugin, mine)

	for dir, works := range map[string]bool{"wrapped": true, "bin": false} {
		t.Setenv("PATH", filepath.Join(root, dir)+":/bin")
		var got []string
		for _, c := range Find() {
			if strings.HasPrefix(c.Path, root) {
				rel, _ := filepath.Rel(site, c.Path)
				got = append(got, c.Kind+" "+rel)
			}
			if filepath.Base(filepath.Dir(c.Path)) == "xla_cuda13" {
				o := Options{Plugin: c.Path, Env: []string{"A=b", "XLA_FLAGS=--one"}}
				env := o.environment()
				for _, want := range []string{"A=b", "XLA_FLAGS=--xla_gpu_cuda_data_dir=" + site +
					"/nvidia/cu13 --one --mine",
					"LD_LIBRARY_PATH=" + site + "/nvidia/cu13/lib:" + site + "/nvidia/cudnn/lib:/before"} {
					if name, _, _ := strings.Cut(want, "="); last(env, name) != want {
						t.Errorf("the environment has %q, want %q", last(env, name), want)
					}
				}
				if c.Where != site {
					t.Errorf("found in %s", c.Where)
				}
			}
		}
		want := []string{"rocm ../../../mine_rocm.so"}
		if works {
			want = append(want, "cuda jax_plugins/xla_cuda13/xla_cuda_plugin.so",
				"cuda jax_plugins/xla_cuda12/xla_cuda_plugin.so", "rocm jax_plugins/xla_rocm7/xla_rocm_plugin.so",
				"tpu libtpu/libtpu.so", "cpu some_cpu/libpjrt_cpu.so")
		}
		if !slices.Equal(got, want) {
			t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, k := range Kinds {
		if !strings.Contains(k.Install, "pip install") || KindOf("libpjrt_"+k.Name+".so") != k.Name {
			t.Errorf("%+v", k)
		}
	}
}

// last is the variable that a program sees where several have its name.
func last(env []string, name string) string {
	for _, v := range slices.Backward(env) {
		if strings.HasPrefix(v, name+"=") {
			return v
		}
	}
	return ""
}

// BenchmarkDriven is what auto costs where there is no accelerator.
func BenchmarkDriven(b *testing.B) {
	for b.Loop() {
		driven()
	}
}
