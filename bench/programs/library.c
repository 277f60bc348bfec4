/* One of many small libraries; NUMBER makes each another file. */
int library_number(void)
{
	return NUMBER;
}
