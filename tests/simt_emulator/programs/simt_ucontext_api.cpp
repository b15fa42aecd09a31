// The same with the switch of stacks that processors other than x86-64 have.
#define SIMT_UCONTEXT
#include "simt_api.cpp"
