// A plugin that does wrong what a macro says: -DCRASH, -DHANG, -DSMALL, -DEXIT, -DMAJOR, -DLIES, -DNOAPI, -DTHREAD or -DABORT.
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
	size_t size;
	void *extensions;
	size_t version_size;
	void *version_extensions;
	int32_t major, minor;
	void *functions[118];
} api;

static void *fine(uintptr_t *args) { return NULL; }

static void *crash(void *arg) {
	*(volatile int *)8 = 1;
	return NULL;
}

static void *create(uintptr_t *args) {
#ifdef CRASH
	fprintf(stderr, "about to \033[31mcrash\n");
	crash(NULL);
#elif defined THREAD
	pthread_t t;
	pthread_create(&t, NULL, crash, NULL);
	pause();
#elif defined ABORT
	fprintf(stderr, "F0000 file.cc:7] Check failed: x == y\n*** Check failure stack trace: ***\n    @ 0x1\n    @ 0x2\n");
	abort();
#elif defined HANG
	for (;;) pause();
#elif defined EXIT
	exit(7);
#endif
	args[8] = 4096;
	return NULL;
}

static void *devices(uintptr_t *args) {
	args[3] = 4096;
	args[4] = (uintptr_t)1 << 40;
	return NULL;
}

#ifndef NOAPI
void *GetPjrtApi(void) {
	api.size = sizeof api;
	api.minor = 90;
	api.functions[3] = fine;
	api.functions[10] = create;
	api.functions[16] = devices;
#ifdef SMALL
	api.size = 40 + 4 * 8;
#elif defined MAJOR
	api.major = 1;
#endif
	return &api;
}
#endif
