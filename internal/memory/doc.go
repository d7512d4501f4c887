// Package memory measures how much memory this process has, and how much more it can take. It also allocates
// slices that begin on a cache line.
package memory
