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

// Candidate is a plugin that was found. Whether it works, only Open tells.
type Candidate struct {
	Kind  string   // cuda, rocm, oneapi, tpu or cpu; "": unknown
	Path  string   // of the plugin
	Where string   // what it was found in
	Env   []string // for Options: where the libraries of the vendor are
	Flags []string // for Options
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

// patterns are where plugins lie below a folder of Python packages, or of libraries.
var patterns = []string{"jax_plugins/*/*plugin*.so", "libtpu/libtpu.so", "xla_plugins/*/*.so", "*/*pjrt*.so",
	"*pjrt*.so", "libtpu.so"}

// Find looks for plugins: in the variable GIMBAL_PJRT_PLUGIN, among the packages of the python3 in PATH, in the folders
// of the system. Of a kind the best comes first, and kinds are in the order of Kinds.
func Find(ctx context.Context) (found []Candidate) {
	if runtime.GOOS != "linux" {
		return nil
	}
	for _, p := range filepath.SplitList(os.Getenv(envPlugin)) {
		found = append(found, At(p, envPlugin))
	}
	chosen := len(found)
	for _, dir := range append(pythonPath(ctx), "/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu",
		"/usr/lib/aarch64-linux-gnu") {
		for _, pattern := range patterns {
			files, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are right
			slices.Reverse(files)                                  // the newest, such as xla_cuda13
			for _, f := range files {
				if !slices.ContainsFunc(found, func(c Candidate) bool { return c.Path == f }) {
					found = append(found, At(f, dir))
				}
			}
		}
	}
	rank := func(c Candidate) int { return slices.Index(append(Kinds(), ""), c.Kind) }
	slices.SortStableFunc(found[chosen:], func(a, b Candidate) int { return cmp.Compare(rank(a), rank(b)) })
	return found
}

// At is the plugin at path, with what its kind needs from the packages around it.
func At(path, where string) Candidate {
	c := Candidate{Kind: KindOf(path), Path: path, Where: where}
	site := filepath.Dir(filepath.Dir(filepath.Dir(path))) // of jax_plugins/NAME/FILE
	var libraries []string
	switch c.Kind {
	case "cuda":
		libraries, _ = filepath.Glob(filepath.Join(site, "nvidia", "*", "lib"))
		for _, name := range []string{"cu13", "cuda_nvcc"} { // compilers that XLA calls
			if dir := filepath.Join(site, "nvidia", name); exists(filepath.Join(dir, "bin", "ptxas")) {
				c.Flags = []string{"--xla_gpu_cuda_data_dir=" + dir}
				break
			}
		}
	case "rocm":
		libraries, _ = filepath.Glob(filepath.Join(site, "*rocm*", "lib"))
		libraries = append(libraries, "/opt/rocm/lib")
	case "oneapi": // pip puts its libraries into PREFIX/lib, and site is PREFIX/lib/pythonX/site-packages
		libraries = []string{filepath.Dir(filepath.Dir(site))}
	}
	libraries = slices.DeleteFunc(libraries, func(dir string) bool { return !exists(dir) })
	if len(libraries) > 0 {
		if old := os.Getenv("LD_LIBRARY_PATH"); old != "" {
			libraries = append(libraries, old)
		}
		c.Env = []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
	}
	return c
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// pythonPath returns where the python3 in PATH looks for packages; nil: there is none that answers.
func pythonPath(ctx context.Context) (dirs []string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
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
