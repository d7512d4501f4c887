package device

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestFind lays out packages as pip does, and a python that knows where they are.
func TestFind(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("plugins are found on Linux only")
	}
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
	if err := os.WriteFile(filepath.Join(root, "python3"), []byte(python), 0o700); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(root, "mine_rocm.so")
	t.Setenv("PATH", root+":/bin")
	t.Setenv("LD_LIBRARY_PATH", "/before")
	t.Setenv(envPlugin, mine)

	var got []string
	for _, c := range Find(t.Context()) {
		if strings.HasPrefix(c.Path, root) {
			rel, _ := filepath.Rel(site, c.Path)
			got = append(got, c.Kind+" "+rel)
		}
		if filepath.Base(filepath.Dir(c.Path)) == "xla_cuda13" {
			if want := "--xla_gpu_cuda_data_dir=" + site + "/nvidia/cu13"; !slices.Equal(c.Flags, []string{want}) {
				t.Errorf("flags %q, want %q", c.Flags, want)
			}
			want := "LD_LIBRARY_PATH=" + site + "/nvidia/cu13/lib:" + site + "/nvidia/cudnn/lib:/before"
			if !slices.Equal(c.Env, []string{want}) || c.Where != site {
				t.Errorf("environment %q of %s, want %q", c.Env, c.Where, want)
			}
		}
	}
	want := []string{"rocm ../../../mine_rocm.so", "cuda jax_plugins/xla_cuda13/xla_cuda_plugin.so",
		"cuda jax_plugins/xla_cuda12/xla_cuda_plugin.so", "rocm jax_plugins/xla_rocm7/xla_rocm_plugin.so",
		"tpu libtpu/libtpu.so", "cpu some_cpu/libpjrt_cpu.so"}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, k := range Kinds() {
		if !strings.Contains(Install(k), "pip install") {
			t.Errorf("install %s: %q", k, Install(k))
		}
	}
}
