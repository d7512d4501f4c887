package main

import (
	"fmt"
	"runtime"

	"gimbal"
	"gimbal/internal/kernel"
)

type versionCmd struct{}

func (versionCmd) Run(e *env) error {
	x, err := kernel.NewExec(1, kernel.TierAuto)
	if err != nil {
		return err
	}
	defer x.Close()
	fmt.Fprintf(e.stdout, "gimbal %s\n%s %s/%s, %d processors\nkernels: %s of %v (GIMBAL_KERNEL forces one)\n", gimbal.Version(),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), x.Tier(), kernel.Tiers())
	if w := x.Warning(); w != "" {
		fmt.Fprintf(e.stdout, "warning: %s\n", w)
	}
	fmt.Fprint(e.stdout, `exit codes:
  0    done
  1    error
  2    usage or configuration
  3    stopped by the guard
  4    data
  5    checkpoint or resume
  6    out of disk or memory
  75   interrupted, saved and resumable
  130  second interrupt
`)
	return nil
}
