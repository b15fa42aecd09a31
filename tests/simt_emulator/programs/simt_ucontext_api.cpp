// The same entry points with ucontext, which processors other than x86-64 use.
#define SIMT_UCONTEXT
#include "simt_api.cpp"
