package device

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Found is a plugin that was found. Whether it works, only Open tells.
type Found struct {
	Path  string `json:"path"`
	Kind  string `json:"kind"`  // one of Kinds; "": unknown
	Where string `json:"where"` // the variable or the folder that it was found in
}

// envPlugin names a plugin, before all others.
const envPlugin = "GIMBAL_PJRT_PLUGIN"

// hardware is the kinds of devices, the best first: how the interface calls each, and how to install it.
var hardware = []struct{ kind, platform, install string }{
	{"cuda", "cuda", `pip install "jax-cuda13-plugin[with-cuda]" (NVIDIA; it needs a driver of version 580 or newer; ` +
		`for an older one jax-cuda12-plugin[with-cuda])`},
	{"rocm", "ROCM", "pip install jax-rocm7-plugin (AMD; it needs ROCm 7 in /opt/rocm)"},
	{"oneapi", "SYCL", `pip install "jax-oneapi-plugin[with-oneapi]" (Intel)`},
	{"tpu", "", "pip install libtpu (Google)"},
	{"cpu", "", "pip install lammps-jax-pjrt-cpu (the compiler on the CPU, for tests)"},
}

// Kinds are the kinds of devices, the best first.
func Kinds() (kinds []string) {
	for _, h := range hardware {
		kinds = append(kinds, h.kind)
	}
	return kinds
}

// Install says how to install the plugin of a kind of devices.
func Install(kind string) string {
	for _, h := range hardware {
		if h.kind == kind {
			return h.install
		}
	}
	return ""
}

// KindOf tells the kind of devices from the path of a plugin; "": it does not tell.
func KindOf(path string) string {
	dir, file := filepath.Split(path)
	for _, name := range []string{file, filepath.Base(dir)} {
		for _, h := range hardware {
			if strings.Contains(strings.ToLower(name), h.kind) {
				return h.kind
			}
		}
	}
	return ""
}

// patterns are where plugins lie below a folder of Python packages, or of libraries. The first are those of
// accelerators; with the others every package is looked into.
var patterns = []string{"jax_plugins/*/*plugin*.so", "libtpu/libtpu.so", "libtpu.so", "*pjrt*.so", "xla_plugins/*/*.so",
	"*/*pjrt*.so"}

const quickPatterns = 4

// Places are where Find looks: the variable GIMBAL_PJRT_PLUGIN, the packages of the python3 in PATH, and the folders of
// libraries of the system.
func Places(ask bool) []string {
	python := pythonFolders()
	if ask {
		for _, dir := range pythonPath() {
			if !slices.Contains(python, dir) {
				python = append(python, dir)
			}
		}
	}
	return slices.Concat([]string{envPlugin}, python, []string{"/usr/local/lib", "/usr/lib", "/usr/lib64",
		"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"})
}

// Find looks for plugins. Those of the variable come first, then those of the kinds in their order. With ask it
// starts python3 to ask where its packages are, and looks into every package: that takes longer, and finds what a
// wrapper hides.
func Find(ask bool) (found []Found) {
	if runtime.GOOS != "linux" {
		return nil
	}
	for _, p := range filepath.SplitList(os.Getenv(envPlugin)) {
		found = append(found, Found{p, KindOf(p), envPlugin})
	}
	chosen, patterns := len(found), patterns
	if !ask {
		patterns = patterns[:quickPatterns]
	}
	for _, dir := range Places(ask)[1:] {
		for _, pattern := range patterns {
			files, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are right
			for _, f := range slices.Backward(files) {             // the newest, such as xla_cuda13
				if !slices.ContainsFunc(found, func(o Found) bool { return o.Path == f }) {
					found = append(found, Found{f, KindOf(f), dir})
				}
			}
		}
	}
	rank := func(f Found) int { return slices.Index(append(Kinds(), ""), f.Kind) }
	slices.SortStableFunc(found[chosen:], func(a, b Found) int { return cmp.Compare(rank(a), rank(b)) })
	return found
}

// site is the folder of Python packages that a plugin is in, as jax_plugins/NAME/FILE.
func site(plugin string) string { return filepath.Dir(filepath.Dir(filepath.Dir(plugin))) }

// vendor is what the environment of a plugin has to name: libraries and compilers among the packages around it.
func vendor(plugin, kind string) (env []string) {
	var libraries []string
	site := site(plugin)
	switch kind {
	case "cuda":
		libraries, _ = filepath.Glob(filepath.Join(site, "nvidia", "*", "lib"))
		for _, name := range []string{"cu13", "cuda_nvcc"} {
			if dir := filepath.Join(site, "nvidia", name); len(env) == 0 && exists(filepath.Join(dir, "bin", "ptxas")) {
				env = append(env, "XLA_FLAGS=--xla_gpu_cuda_data_dir="+dir)
			}
		}
	case "rocm":
		libraries, _ = filepath.Glob(filepath.Join(site, "*rocm*", "lib"))
		libraries = append(libraries, "/opt/rocm/lib")
	case "oneapi": // pip puts its libraries into PREFIX/lib, and site is PREFIX/lib/pythonX/site-packages
		libraries = []string{filepath.Dir(filepath.Dir(site))}
	}
	libraries = slices.DeleteFunc(libraries, func(dir string) bool { return !exists(dir) })
	if old := os.Getenv("LD_LIBRARY_PATH"); len(libraries) > 0 && old != "" {
		libraries = append(libraries, old)
	}
	if len(libraries) > 0 {
		env = append(env, "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	}
	return env
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// pythonFolders returns the folders of packages around the python3 in PATH, as it is named there and as it is, and that
// of the user.
func pythonFolders() (dirs []string) {
	var roots []string
	if at, err := exec.LookPath("python3"); err == nil {
		roots = append(roots, filepath.Dir(filepath.Dir(at)))
		if at, err = filepath.EvalSymlinks(at); err == nil {
			roots = append(roots, filepath.Dir(filepath.Dir(at)))
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		roots = append(roots, filepath.Join(home, ".local"))
	}
	for _, root := range roots {
		for _, pattern := range []string{"lib/python3*/site-packages", "lib/python3*/dist-packages",
			"local/lib/python3*/dist-packages", "versions/*/lib/python3*/site-packages"} {
			found, _ := filepath.Glob(filepath.Join(root, pattern)) // the patterns are right
			for _, dir := range slices.Backward(found) {
				if !slices.Contains(dirs, dir) {
					dirs = append(dirs, dir)
				}
			}
		}
	}
	return dirs
}

// pythonPath returns where the python3 in PATH looks for packages; nil: there is none that answers.
func pythonPath() (dirs []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", "-c", `import sys; print("\n".join(sys.path))`)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		if dir := strings.TrimSpace(line); filepath.IsAbs(dir) && strings.HasSuffix(dir, "-packages") {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
