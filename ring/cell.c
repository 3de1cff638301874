#include "ring/cell.h"
typedef int cell_placeholder;
