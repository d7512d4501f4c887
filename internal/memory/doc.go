// Package memory measures how much memory this process has, and how much more it can take.
package memory
