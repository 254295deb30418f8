// The first answer of a package of AOTInductor in C++: first_inductor PACKAGE X 1x128x4096 Y DEVICE. Prints what first.c prints.
#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

static std::vector<std::pair<const char *, long long>> done;

static void step(const char *what)
{
	done.emplace_back(what, std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

int main(int argc, char **argv)
{
	step("process");
	if (argc != 6) return 2;
	torch::inductor::AOTIModelPackageLoader model(argv[1]);
	step("model loaded");
	std::vector<int64_t> shape;
	size_t bytes = 2;
	for (char *s = argv[3]; *s; s += *s == 'x') {
		shape.push_back(std::strtoll(s, &s, 10));
		bytes *= static_cast<size_t>(shape.back());
	}
	std::unique_ptr<char[]> host(new char[bytes]);
	std::FILE *in = std::fopen(argv[2], "rb");
	if (!in || std::fread(host.get(), 1, bytes, in) != bytes) return 1;
	std::fclose(in);
	at::Tensor x = at::from_blob(host.get(), shape, at::kBFloat16).to(at::Device(argv[5]));
	step("the input on the GPU");
	at::Tensor y = model.run({ x })[0];
	step("started");
	y = y.cpu().contiguous();
	step("answer");
	for (auto &[what, at] : done) std::printf("at %lld %s\n", at, what);
	std::ofstream(argv[4], std::ios::binary).write(static_cast<const char *>(y.const_data_ptr()), static_cast<std::streamsize>(y.nbytes()));
}
