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
	Kind  string `json:"kind"`  // the name of one of Kinds; "": unknown
	Where string `json:"where"` // the variable or the folder that it was found in
}

// envPlugin names a plugin, before all others.
const envPlugin = "GIMBAL_PJRT_PLUGIN"

// Kind is a kind of devices.
type Kind struct {
	Name     string // for numeric.device
	Install  string // how to install its plugin
	platform string // as the interface calls it; "": its client has no options
}

// Kinds are the kinds of devices, the best first. The last is for tests.
var Kinds = []Kind{
	{"cuda", `pip install "jax-cuda13-plugin[with-cuda]" (NVIDIA; it needs a driver of version 580 or newer; ` +
		`for an older one jax-cuda12-plugin[with-cuda])`, "cuda"},
	{"rocm", "pip install jax-rocm7-plugin (AMD; it needs ROCm 7 in /opt/rocm)", "ROCM"},
	{"oneapi", `pip install "jax-oneapi-plugin[with-oneapi]" (Intel)`, "SYCL"},
	{"tpu", "pip install libtpu (Google)", ""},
	{"cpu", "pip install lammps-jax-pjrt-cpu (the compiler on the CPU, for tests)", ""},
}

// rank is the place of a kind among Kinds; their number where it is unknown.
func rank(kind string) int {
	for i, k := range Kinds {
		if k.Name == kind {
			return i
		}
	}
	return len(Kinds)
}

// KindOf tells the kind of devices from the path of a plugin; "": it does not tell.
func KindOf(path string) string {
	dir, file := filepath.Split(path)
	for _, name := range []string{file, filepath.Base(dir)} {
		for _, k := range Kinds {
			if strings.Contains(strings.ToLower(name), k.Name) {
				return k.Name
			}
		}
	}
	return ""
}

// patterns are where plugins lie below a folder of Python packages, or of libraries.
var patterns = []string{"jax_plugins/*/*plugin*.so", "libtpu/libtpu.so", "libtpu.so", "*pjrt*.so", "xla_plugins/*/*.so",
	"*/*pjrt*.so"}

// drivers are what drivers of accelerators put into a system. Without any, there is nothing to look for.
var drivers = []string{"/dev/nvidia*", "/dev/dxg", "/dev/kfd", "/dev/dri/render*", "/dev/accel*", "/dev/vfio/*"}

// driven tells whether a driver of accelerators is there.
func driven() bool {
	return slices.ContainsFunc(drivers, func(pattern string) bool {
		files, _ := filepath.Glob(pattern) // the patterns are right
		return len(files) > 0
	})
}

// Places are where Find looks: the variable GIMBAL_PJRT_PLUGIN, the packages of the python3 in PATH, and the folders of
// libraries of the system.
func Places() []string {
	return slices.Concat([]string{envPlugin}, pythonPath(), []string{"/usr/local/lib", "/usr/lib", "/usr/lib64",
		"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"})
}

// named are the plugins of the variable.
func named() (found []Found) {
	for _, p := range filepath.SplitList(os.Getenv(envPlugin)) {
		found = append(found, Found{p, KindOf(p), envPlugin})
	}
	return found
}

// Find looks for plugins. Those of the variable come first, then those of the kinds in their order.
func Find() []Found {
	if runtime.GOOS != "linux" {
		return nil
	}
	found := named()
	chosen := len(found)
	for _, dir := range Places()[1:] {
		for _, pattern := range patterns {
			files, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are right
			for _, f := range slices.Backward(files) {             // the newest, such as xla_cuda13
				if !slices.ContainsFunc(found, func(o Found) bool { return o.Path == f }) {
					found = append(found, Found{f, KindOf(f), dir})
				}
			}
		}
	}
	slices.SortStableFunc(found[chosen:], func(a, b Found) int { return cmp.Compare(rank(a.Kind), rank(b.Kind)) })
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
		dir := strings.TrimSpace(line)
		if filepath.IsAbs(dir) && strings.HasSuffix(dir, "-packages") && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
